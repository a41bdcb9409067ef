package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// result is what is printed, as JSON. Times of calls are in milliseconds, CPU times in seconds.
type result struct {
	Calls     int64              `json:"calls"`
	Tokens    int64              `json:"tokens"`
	Errors    int64              `json:"errors"`
	Refused   int64              `json:"refused"`
	Late      int64              `json:"late"`
	FirstFail string             `json:"first_error,omitempty"`
	Seconds   float64            `json:"seconds"`
	P50       float64            `json:"p50_ms"`
	P90       float64            `json:"p90_ms"`
	P99       float64            `json:"p99_ms"`
	Used      int64              `json:"tokens_used"`
	CPU       float64            `json:"cpu"`
	Store     float64            `json:"store_cpu"`
	Waits     int64              `json:"waits"`
	Interrupt int64              `json:"interruptions"`
	Each      map[string]float64 `json:"cpu_each"`
	Slowest   []slow             `json:"slowest"`
}

// slow is a call that took long, with when it was due, in milliseconds since the clock started.
type slow struct {
	At   float64 `json:"at_ms"`
	Took float64 `json:"took_ms"`
}

type call func(worker int, number int64, due time.Time) (tokens int64, err error)

// counts of the calls that have ended so far, of which those that are measured are told apart by reading them twice.
type counts struct {
	next, calls, failed, refused, late, tokens atomic.Int64
	first                                      atomic.Value
}

func (c *counts) ended(tokens int64, err error) {
	if err == nil {
		c.calls.Add(1)
		c.tokens.Add(tokens)
		return
	}
	c.first.CompareAndSwap(nil, err.Error())
	switch status.Code(err) {
	case codes.ResourceExhausted:
		c.refused.Add(1)
	case codes.DeadlineExceeded:
		c.late.Add(1)
	default:
		if c.failed.Add(1) == 1 {
			c.first.Store(err.Error()) // it says more than those that are told apart
		}
	}
}

// reading is what was read at one moment, all of it together.
type reading struct {
	at                   time.Time
	calls, tokens        int64
	server, store        tree
	waits, interruptions int64
}

func (c *counts) read(o options) reading {
	at, calls, tokens, server := time.Now(), c.calls.Load(), c.tokens.Load(), cpu(o.server)
	waits, interruptions := switches(server)
	return reading{at, calls, tokens, server, cpu(o.store), waits, interruptions}
}

// measure calls from many goroutines until the time is over, or, with -once, until every token was used.
//
// In a closed loop calls count that end while it is measured, and of those that fail all, from the first one on. In an
// open loop those count that are due meanwhile, whenever they end.
func measure(o options, most int, do call) (*result, error) {
	var c, due counts
	times := make([][]slow, o.streams)
	begin := time.Now()
	from := begin.Add(time.Duration(o.warmup * float64(time.Second)))
	end := from.Add(time.Duration(o.seconds * float64(time.Second)))
	var wait sync.WaitGroup
	for worker := range o.streams {
		wait.Go(func() {
			for {
				number := c.next.Add(1) - 1
				started := time.Now()
				if o.rate > 0 {
					started = begin.Add(time.Duration(float64(number) / o.rate * float64(time.Second)))
					time.Sleep(time.Until(started))
				}
				if started.After(end) || o.once && number >= int64(most) {
					return
				}
				got, err := do(worker, number, started)
				c.ended(got, err)
				if !started.Before(from) {
					due.ended(got, err)
				}
				if done := time.Now(); err == nil && !started.Before(from) && (o.rate > 0 || !done.After(end)) {
					times[worker] = append(times[worker], slow{ms(started.Sub(begin)), ms(done.Sub(started))})
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { wait.Wait(); close(over) }()
	sleep(from, over)
	first := c.read(o)
	sleep(end, over)
	last := c.read(o)
	<-over
	if o.rate > 0 {
		c.failed.Store(due.failed.Load())
		c.refused.Store(due.refused.Load())
		c.late.Store(due.late.Load())
		first.calls, first.tokens = 0, 0
		last.calls, last.tokens = due.calls.Load(), due.tokens.Load()
	}
	return summary(&c, first, last, slices.Concat(times...)), nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func sleep(until time.Time, over <-chan struct{}) {
	select {
	case <-time.After(time.Until(until)):
	case <-over:
	}
}

func summary(c *counts, first, last reading, all []slow) *result {
	slices.SortFunc(all, func(a, b slow) int {
		if a.Took < b.Took {
			return -1
		}
		return 1
	})
	spent := last.server.since(first.server)
	answer := &result{Calls: last.calls - first.calls, Tokens: last.tokens - first.tokens, Errors: c.failed.Load(),
		Refused: c.refused.Load(), Late: c.late.Load(), Seconds: last.at.Sub(first.at).Seconds(), Used: c.next.Load(),
		CPU: sum(spent), Each: spent, Store: sum(last.store.since(first.store)),
		Waits: last.waits - first.waits, Interrupt: last.interruptions - first.interruptions}
	if text, ok := c.first.Load().(string); ok {
		answer.FirstFail = text
	}
	if n := len(all); n > 0 {
		answer.P50, answer.P90, answer.P99 = all[n/2].Took, all[n*9/10].Took, all[n*99/100].Took
		answer.Slowest = all[max(0, n-5):]
	}
	return answer
}
