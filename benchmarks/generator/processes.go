package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const ticks = 100 // of a second: what the kernel counts in for programs (USER_HZ), on every machine that Go runs on

// tree has the CPU seconds that each process of a tree has used, those of children that it has waited for included.
type tree map[string]float64

// cpu reads a process and its descendants. Processes that end meanwhile are in their parent's time.
func cpu(root int) tree {
	found := tree{}
	todo := []int{root}
	for len(todo) > 0 {
		pid := todo[0]
		todo = todo[1:]
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if pid == 0 || err != nil {
			continue
		}
		text := string(stat)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from the third on: a name may have blanks
		used := 0
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime: proc(5)
			value, _ := strconv.Atoi(field)
			used += value
		}
		found[strconv.Itoa(pid)] = float64(used) / ticks
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for _, child := range strings.Fields(string(children)) {
			if number, err := strconv.Atoi(child); err == nil {
				todo = append(todo, number)
			}
		}
	}
	return found
}

// switches counts how often the threads of a process and its descendants waited for something, and how often they were
// interrupted, which other work on the machine does.
func switches(processes tree) (waits, interruptions int64) {
	for pid := range processes {
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*/status")
		for _, thread := range threads {
			text, _ := os.ReadFile(thread)
			for _, line := range strings.Split(string(text), "\n") {
				name, value, _ := strings.Cut(line, ":")
				count, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				switch name {
				case "voluntary_ctxt_switches":
					waits += count
				case "nonvoluntary_ctxt_switches":
					interruptions += count
				}
			}
		}
	}
	return waits, interruptions
}

// since returns what was used after an earlier reading.
func (t tree) since(earlier tree) tree {
	spent := tree{}
	for pid, seconds := range t {
		spent[pid] = seconds - earlier[pid]
	}
	return spent
}

func sum(t tree) (total float64) {
	for _, seconds := range t {
		total += seconds
	}
	return total
}
