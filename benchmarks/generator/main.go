// The load generator: light, so that one core is enough to keep a server on another one busy.
//
// Requests are encoded before the clock starts, and answers are looked at no further than that there is a token in each.
// With -rate it is an open loop (a call is due when it is due, and its time counts from then); without, a closed one.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const service = "/tokenmint.v1.TokenExchangeService/"

type options struct {
	target, tokens, mode, audience, id, secret string
	connections, streams, from                 int
	seconds, warmup, rate, deadline            float64
}

// result is what is printed, as JSON. Times are in milliseconds.
type result struct {
	Calls     int64   `json:"calls"`
	Tokens    int64   `json:"tokens"`
	Errors    int64   `json:"errors"`
	Refused   int64   `json:"refused"`
	Late      int64   `json:"late"`
	FirstFail string  `json:"first_error,omitempty"`
	Seconds   float64 `json:"seconds"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Used      int64   `json:"tokens_used"`
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
	flag.StringVar(&o.target, "target", "", "address, or URL for -mode http")
	flag.StringVar(&o.tokens, "tokens", "", "file with a subject token in each line")
	flag.StringVar(&o.mode, "mode", "exchange", "exchange, eight (each token for eight audiences), batch (eight targets), http")
	flag.StringVar(&o.audience, "audience", "https://orders.example", "audience; of eight, the stem")
	flag.StringVar(&o.id, "client-id", "bench", "client id")
	flag.StringVar(&o.secret, "client-secret", "", "client secret")
	flag.IntVar(&o.connections, "connections", 4, "connections")
	flag.IntVar(&o.streams, "streams", 64, "calls at the same time, over all connections")
	flag.IntVar(&o.from, "from", 0, "the first token to use")
	flag.Float64Var(&o.seconds, "seconds", 5, "seconds that are measured")
	flag.Float64Var(&o.warmup, "warmup", 1, "seconds before that")
	flag.Float64Var(&o.rate, "rate", 0, "calls per second; 0: as many as are answered")
	flag.Float64Var(&o.deadline, "deadline", 10, "seconds that a call may take from when it is due")
	flag.Parse()
	answer, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "generator:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer)
}

func run(o options) (*result, error) {
	if o.mode == "http" {
		transport := &http.Transport{MaxIdleConnsPerHost: o.streams, DisableCompression: true}
		client := &http.Client{Transport: transport}
		return measure(o, func(int, int64, time.Time) (int64, error) { return 1, get(client, o.target) })
	}
	requests, err := encode(o)
	if err != nil {
		return nil, err
	}
	connections := make([]*grpc.ClientConn, o.connections)
	for i := range connections {
		connections[i], err = grpc.NewClient(o.target, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
		if err != nil {
			return nil, err
		}
		defer connections[i].Close()
	}
	method, want := service+"ExchangeToken", int64(1)
	if o.mode == "batch" {
		method, want = service+"BatchExchangeTokens", 8
	}
	caller := metadata.NewOutgoingContext(context.Background(),
		metadata.Pairs("tokenmint-client-id", o.id, "tokenmint-client-secret", o.secret))
	patience := time.Duration(o.deadline * float64(time.Second))
	return measure(o, func(worker int, number int64, due time.Time) (int64, error) {
		ctx, cancel := context.WithDeadline(caller, due.Add(patience))
		defer cancel()
		var reply []byte
		request := &requests[(int64(o.from)+number)%int64(len(requests))]
		if err := connections[worker%len(connections)].Invoke(ctx, method, request, &reply); err != nil {
			return 0, err
		}
		if got := tokensIn(reply, o.mode == "batch"); got != want {
			return got, fmt.Errorf("%d tokens where %d are due", got, want)
		}
		return want, nil
	})
}

// measure calls from many goroutines until the time is over. call returns how many tokens came.
func measure(o options, call func(worker int, number int64, due time.Time) (int64, error)) (*result, error) {
	var next, failed, refused, late, tokens atomic.Int64
	var first atomic.Value
	times := make([][]time.Duration, o.streams)
	begin := time.Now()
	from := begin.Add(time.Duration(o.warmup * float64(time.Second)))
	end := from.Add(time.Duration(o.seconds * float64(time.Second)))
	var marked atomic.Bool
	var wait sync.WaitGroup
	for worker := range o.streams {
		wait.Go(func() {
			for {
				number := next.Add(1) - 1
				started := time.Now()
				if o.rate > 0 {
					started = begin.Add(time.Duration(float64(number) / o.rate * float64(time.Second)))
					time.Sleep(time.Until(started))
				}
				if started.After(end) {
					return
				}
				if started.After(from) && marked.CompareAndSwap(false, true) {
					fmt.Fprintln(os.Stderr, "measuring") // whoever started this reads the server's CPU time now
				}
				got, err := call(worker, number, started)
				done := time.Now()
				if started.Before(from) || o.rate == 0 && done.After(end) {
					continue
				}
				if err != nil {
					switch status.Code(err) {
					case codes.ResourceExhausted:
						refused.Add(1)
					case codes.DeadlineExceeded:
						late.Add(1)
					default:
						failed.Add(1)
						first.CompareAndSwap(nil, err.Error())
					}
					continue
				}
				tokens.Add(got)
				times[worker] = append(times[worker], done.Sub(started))
			}
		})
	}
	time.Sleep(time.Until(end))
	fmt.Fprintln(os.Stderr, "measured")
	wait.Wait()
	all := slices.Concat(times...)
	slices.Sort(all)
	answer := &result{Calls: int64(len(all)), Tokens: tokens.Load(), Errors: failed.Load(),
		Refused: refused.Load(), Late: late.Load(), Seconds: o.seconds, Used: next.Load()}
	if text, ok := first.Load().(string); ok {
		answer.FirstFail = text
	}
	if len(all) > 0 {
		answer.P50 = all[len(all)/2].Seconds() * 1000
		answer.P99 = all[len(all)*99/100].Seconds() * 1000
	}
	return answer, nil
}

func encode(o options) ([][]byte, error) {
	file, err := os.Open(o.tokens)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var requests [][]byte
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		token := strings.TrimSpace(lines.Text())
		subject := field(nil, 1, token)
		switch o.mode {
		case "batch":
			for i := range 8 {
				target := field(nil, 1, fmt.Sprintf("%s/%d", o.audience, i))
				subject = protowire.AppendBytes(protowire.AppendTag(subject, 8, protowire.BytesType), target)
			}
			requests = append(requests, subject)
		case "eight":
			for i := range 8 {
				requests = append(requests, field(slices.Clone(subject), 3, fmt.Sprintf("%s/%d", o.audience, i)))
			}
		default:
			requests = append(requests, field(subject, 3, o.audience))
		}
	}
	if len(requests) == 0 {
		return nil, errors.New("no tokens in " + o.tokens)
	}
	return requests, lines.Err()
}

func field(message []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, number, protowire.BytesType), value)
}

// tokensIn counts the tokens of an answer: field 1 of it, or of each result of a batch.
func tokensIn(message []byte, batch bool) (count int64) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return count
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return count
		}
		if number == 1 && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			if batch {
				count += min(1, tokensIn(value, false))
			} else if len(value) > 0 {
				count++
			}
		}
		message = message[n+size:]
	}
	return count
}

func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}
