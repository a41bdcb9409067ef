// The load generator: light, so that one core is enough to keep a server on another one busy.
//
// Requests are encoded before the clock starts, and answers are read no further than it takes to see a token in each.
// With -rate it is an open loop (a call counts from when it is due); without, a closed one.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const (
	service = "/tokenmint.v1.TokenExchangeService/"
	check   = "/envoy.service.auth.v3.Authorization/Check"
	watch   = "/tokenmint.v1.KeySetService/WatchKeySet"
)

type options struct {
	target, tokens, mode, audience, id, secret, authority string
	connections, streams, from, server, store             int
	seconds, warmup, rate, deadline                       float64
	once                                                  bool
}

// raw is a codec for messages that are bytes already.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = slices.Clone(data)
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "", "address, or URL for -mode http and oauth")
	flag.StringVar(&o.tokens, "tokens", "", "file with a subject token in each line")
	flag.StringVar(&o.mode, "mode", "exchange",
		"exchange, eight (each token for eight audiences), batch (eight targets), authz, oauth, http (GET), watch, offer")
	flag.StringVar(&o.audience, "audience", "https://orders.example", "audience; of eight, the stem")
	flag.StringVar(&o.id, "client-id", "bench", "client id")
	flag.StringVar(&o.secret, "client-secret", "", "client secret")
	flag.StringVar(&o.authority, "authority", "", "PEM file of the authority of the server's certificate; \"\": no TLS")
	flag.IntVar(&o.connections, "connections", 4, "connections")
	flag.IntVar(&o.streams, "streams", 64, "calls at the same time, over all connections; watchers")
	flag.IntVar(&o.from, "from", 0, "the first token to use")
	flag.IntVar(&o.server, "server", 0, "process whose CPU time, with its descendants', is read; 0: none")
	flag.IntVar(&o.store, "store", 0, "process of the store, whose CPU time is read too; 0: none")
	flag.Float64Var(&o.seconds, "seconds", 5, "seconds that are measured")
	flag.Float64Var(&o.warmup, "warmup", 1, "seconds before that")
	flag.Float64Var(&o.rate, "rate", 0, "calls per second; 0: as many as are answered")
	flag.Float64Var(&o.deadline, "deadline", 10, "seconds that a call may take from when it is due")
	flag.BoolVar(&o.once, "once", false, "use each token once: end early when there are no more")
	flag.Parse()
	answer, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "generator:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer)
}

func run(o options) (any, error) {
	if o.mode == "watch" {
		return watchers(o)
	}
	if o.mode == "http" {
		return measure(o, 0, getting(o))
	}
	requests, err := encode(o)
	if err != nil {
		return nil, err
	}
	if o.mode == "oauth" {
		return measure(o, len(requests), posting(o, requests))
	}
	if o.mode == "offer" {
		return offer(o, requests)
	}
	connections, err := dial(o)
	if err != nil {
		return nil, err
	}
	method, want := service+"ExchangeToken", int64(1)
	switch o.mode {
	case "batch":
		method, want = service+"BatchExchangeTokens", 8
	case "authz":
		method = check
	}
	caller := metadata.NewOutgoingContext(context.Background(),
		metadata.Pairs("tokenmint-client-id", o.id, "tokenmint-client-secret", o.secret))
	return measure(o, len(requests), func(worker int, number int64, due time.Time) (int64, error) {
		ctx, cancel := context.WithDeadline(caller, due.Add(patience(o)))
		defer cancel()
		var reply []byte
		request := &requests[(int64(o.from)+number)%int64(len(requests))]
		if err := connections[worker%len(connections)].Invoke(ctx, method, request, &reply); err != nil {
			return 0, err
		}
		if got := tokensIn(reply, o.mode); got != want {
			return got, fmt.Errorf("%d tokens where %d are due", got, want)
		}
		return want, nil
	})
}

func patience(o options) time.Duration { return time.Duration(o.deadline * float64(time.Second)) }

func dial(o options) ([]*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if o.authority != "" {
		pem, err := os.ReadFile(o.authority)
		if err != nil {
			return nil, err
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + o.authority)
		}
		security = credentials.NewTLS(&tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12})
	}
	connections := make([]*grpc.ClientConn, o.connections)
	for i := range connections {
		connection, err := grpc.NewClient(o.target, grpc.WithTransportCredentials(security),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
		if err != nil {
			return nil, err
		}
		connections[i] = connection
	}
	return connections, nil
}
