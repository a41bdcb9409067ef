package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const mostRequests = 100_000 // that are kept in memory; then the first ones come again

func encode(o options) ([][]byte, error) {
	file, err := os.Open(o.tokens)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var requests [][]byte
	lines := bufio.NewScanner(file)
	for lines.Scan() && len(requests) < mostRequests {
		requests = append(requests, request(o, strings.TrimSpace(lines.Text()))...)
	}
	if len(requests) == 0 {
		return nil, errors.New("no tokens in " + o.tokens)
	}
	return requests, lines.Err()
}

// request returns the bytes of what is asked for with one token; of eight audiences there are eight.
func request(o options, token string) [][]byte {
	subject := field(nil, 1, token)
	switch o.mode {
	case "batch":
		for i := range 8 {
			target := field(nil, 1, fmt.Sprintf("%s/%d", o.audience, i))
			subject = field(subject, 8, string(target))
		}
		return [][]byte{subject}
	case "eight":
		var all [][]byte
		for i := range 8 {
			all = append(all, field(slices.Clone(subject), 3, fmt.Sprintf("%s/%d", o.audience, i)))
		}
		return all
	case "authz":
		header := field(field(nil, 1, "authorization"), 2, "Bearer "+token)
		http := field(field(field(field(nil, 2, "GET"), 3, string(header)), 4, "/orders"), 5, "orders.example")
		extension := field(field(nil, 1, "tokenmint.audience"), 2, o.audience)
		attributes := field(field(nil, 4, string(field(nil, 2, string(http)))), 10, string(extension))
		return [][]byte{field(nil, 1, string(attributes))}
	case "oauth":
		return [][]byte{[]byte(url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {token},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
			"audience":           {o.audience},
		}.Encode())}
	}
	return [][]byte{field(subject, 3, o.audience)}
}

func field(message []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, number, protowire.BytesType), value)
}

// tokensIn counts the tokens of an answer: field 1 of it, or of each result of a batch; field 3 of a check that passed.
func tokensIn(message []byte, mode string) (count int64) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return count
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return count
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			switch {
			case mode == "authz" && number == 3, mode != "authz" && mode != "batch" && number == 1 && len(value) > 0:
				count++
			case mode == "batch" && number == 1:
				count += min(1, tokensIn(value, ""))
			}
		}
		message = message[n+size:]
	}
	return count
}

func client(o options) *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: o.streams, DisableCompression: true}, Timeout: patience(o),
	}
}

func getting(o options) call {
	caller := client(o)
	return func(int, int64, time.Time) (int64, error) {
		asked, err := http.NewRequest(http.MethodGet, o.target, nil)
		if err != nil {
			return 0, err
		}
		_, err = answer(caller, asked)
		return 1, err
	}
}

func posting(o options, requests [][]byte) call {
	caller := client(o)
	return func(_ int, number int64, _ time.Time) (int64, error) {
		body := requests[(int64(o.from)+number)%int64(len(requests))]
		asked, err := http.NewRequest(http.MethodPost, o.target, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		asked.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		asked.SetBasicAuth(url.QueryEscape(o.id), url.QueryEscape(o.secret))
		text, err := answer(caller, asked)
		if err == nil && !bytes.Contains(text, []byte(`"access_token"`)) {
			return 0, errors.New("no token in the answer")
		}
		return 1, err
	}
}

// answer returns the body of an answer. One that asks for patience is an error as gRPC's RESOURCE_EXHAUSTED.
func answer(caller *http.Client, asked *http.Request) ([]byte, error) {
	response, err := caller.Do(asked)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return text, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return nil, status.Errorf(codes.ResourceExhausted, "status %d", response.StatusCode)
	}
	return nil, fmt.Errorf("status %d", response.StatusCode)
}
