package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
)

// told is what is printed of watchers: how long a change took to reach half of them, and all, and its CPU time.
type told struct {
	Watchers int     `json:"watchers"`
	Half     float64 `json:"half_ms"`
	All      float64 `json:"all_ms"`
	CPU      float64 `json:"cpu"`
	Seconds  float64 `json:"seconds"`
}

// watchers opens the streams, prints a line when each has the key set, and measures how the next change reaches them.
//
// Times count from the line on standard input that says that the change is on its way.
func watchers(o options) (*told, error) {
	connections, err := dial(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	messages, failures := make(chan time.Time, 2*o.streams), make(chan error, o.streams)
	for i := range o.streams {
		go func() { failures <- follow(ctx, connections[i%len(connections)], messages) }()
	}
	if _, err := arrivals(o.streams, messages, failures); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "watching")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return nil, err
	}
	before, started := cpu(o.server), time.Now()
	times, err := arrivals(o.streams, messages, failures)
	if err != nil {
		return nil, err
	}
	spent := cpu(o.server).since(before)
	slices.SortFunc(times, time.Time.Compare)
	return &told{
		o.streams, ms(times[len(times)/2].Sub(started)), ms(times[len(times)-1].Sub(started)), sum(spent),
		time.Since(started).Seconds(),
	}, nil
}

func follow(ctx context.Context, connection *grpc.ClientConn, messages chan<- time.Time) error {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, watch)
	if err != nil {
		return err
	}
	var empty, reply []byte
	if err := stream.SendMsg(&empty); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(&reply); err != nil {
			return err
		}
		messages <- time.Now()
	}
}

func arrivals(count int, messages <-chan time.Time, failures <-chan error) ([]time.Time, error) {
	times := make([]time.Time, 0, count)
	for len(times) < count {
		select {
		case at := <-messages:
			times = append(times, at)
		case err := <-failures:
			return nil, err
		}
	}
	return times, nil
}
