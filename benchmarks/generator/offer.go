package main

import (
	"encoding/binary"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tick is how often a line looks for calls that are due or whose deadline has passed.
const tick = 2 * time.Millisecond

// redial is how long a line waits at most before it connects once more.
const redial = 100 * time.Millisecond

// offer is the open loop for more calls than a server can answer. grpc-go's client needs so much time for a call that it
// would be the one that is overloaded. This one writes the frames itself, and does what gRPC's clients do with a call:
// it waits, the oldest first, until the server allows one more stream; at its deadline it is dropped, or reset.
func offer(o options, requests [][]byte) (*result, error) {
	debug.SetGCPercent(1000) // its own work is not what is measured
	var c counts
	for i, message := range requests {
		requests[i] = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	}
	begin := time.Now()
	from := begin.Add(time.Duration(o.warmup * float64(time.Second)))
	end := from.Add(time.Duration(o.seconds * float64(time.Second)))
	lines := make([]*line, o.connections)
	var wait sync.WaitGroup
	for i := range lines {
		l := &line{o: o, counts: &c, requests: requests, start: begin, from: from, end: end, number: int64(i),
			wake: make(chan struct{}, 1)}
		if err := l.connect(); err != nil {
			return nil, err
		}
		lines[i] = l
		wait.Go(l.run)
	}
	time.Sleep(time.Until(from))
	first := c.read(o)
	time.Sleep(time.Until(end))
	last := c.read(o)
	wait.Wait()
	c.next.Store(int64(time.Since(begin).Seconds() * o.rate))
	first.calls, first.tokens = 0, 0
	last.calls, last.tokens = c.calls.Load(), c.tokens.Load()
	var times []slow
	for _, l := range lines {
		times = slices.Concat(times, l.times)
	}
	return summary(&c, first, last, times), nil
}

// offered is a call. The server has it once it has a stream.
type offered struct {
	number int64
	due    time.Time
	stream uint32
}

// line offers every n-th call, on one connection at a time.
type line struct {
	o                options
	counts           *counts
	requests         [][]byte
	start, from, end time.Time
	wake             chan struct{}

	lock    sync.Mutex
	number  int64 // of the next call that will be due
	waiting []offered
	wire    *wire
	lost    time.Time // when the connection was lost last
	times   []slow
}

// connect replaces the connection. Calls of the old one fail.
func (l *line) connect() error {
	l.lost = time.Now()
	made, err := dialled(l)
	if err != nil {
		return err
	}
	l.wire = made
	go made.receive()
	return nil
}

// run offers what is due until the calls that are measured have ended.
func (l *line) run() {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case <-l.wake:
		case <-clock.C:
		}
		l.lock.Lock()
		over := l.look(time.Now())
		l.lock.Unlock()
		if over {
			l.wire.socket.Close()
			return
		}
	}
}

// look does what is due by now. Returns whether the last call has ended.
func (l *line) look(now time.Time) bool {
	l.arrive(now)
	if w := l.wire; w.failure != nil {
		for _, due := range w.open {
			l.ended(due, 0, w.failure)
		}
		clear(w.open)
		if now.Sub(l.lost) > redial {
			_ = l.connect() // if it fails, the next look tries again
		}
	}
	l.expire(now)
	for len(l.waiting) > 0 && l.wire.begin(l.waiting[0], now) {
		l.waiting = l.waiting[1:]
	}
	l.wire.flush()
	return now.After(l.end) && len(l.wire.open) == 0 && len(l.waiting) == 0
}

// arrive takes the calls that are due by now.
func (l *line) arrive(now time.Time) {
	for {
		due := l.start.Add(time.Duration(float64(l.number) / l.o.rate * float64(time.Second)))
		if due.After(now) || due.After(l.end) {
			return
		}
		l.waiting = append(l.waiting, offered{l.number, due, 0})
		l.number += int64(l.o.connections)
	}
}

// expire drops calls whose deadline has passed, and resets those that the server has.
func (l *line) expire(now time.Time) {
	last := now.Add(-patience(l.o))
	late := status.Error(codes.DeadlineExceeded, "the deadline has passed")
	for _, due := range l.wire.reset(last) {
		l.ended(due, 0, late)
	}
	for len(l.waiting) > 0 && !l.waiting[0].due.After(last) {
		l.ended(l.waiting[0].due, 0, late)
		l.waiting = l.waiting[1:]
	}
}

func (l *line) ended(due time.Time, tokens int64, err error) {
	if due.Before(l.from) {
		return
	}
	l.counts.ended(tokens, err)
	if err == nil {
		l.times = append(l.times, slow{ms(due.Sub(l.start)), ms(time.Since(due))})
	}
}
