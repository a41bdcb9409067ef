package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const prefix = 5 // bytes before a message: no compression, and its length

// wire is a connection of a line, which it has in common with that line's lock.
type wire struct {
	line       *line
	socket     net.Conn
	writer     *bufio.Writer
	framer     *http2.Framer
	block      []byte // of the headers that all calls have
	decoder    *hpack.Decoder
	code, text string // of the trailers that were read last
	replies    map[uint32]int64

	sent    []offered // in the order of their deadlines, ended or not
	open    map[uint32]time.Time
	next    uint32 // stream
	allowed int
	window  int64 // bytes that may be sent
	failure error
}

func dialled(l *line) (*wire, error) {
	socket, err := net.Dial("tcp", l.o.target)
	if err != nil {
		return nil, err
	}
	writer := bufio.NewWriterSize(socket, 64*1024)
	w := &wire{line: l, socket: socket, writer: writer, next: 1, open: map[uint32]time.Time{}, allowed: 100,
		framer: http2.NewFramer(writer, bufio.NewReaderSize(socket, 64*1024)), window: 65535,
		replies: map[uint32]int64{}}
	w.block = slices.Grow(fixed(l.o), 64)
	w.decoder = hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		switch field.Name {
		case "grpc-status":
			w.code = field.Value
		case "grpc-message":
			w.text = field.Value
		}
	})
	w.framer.SetReuseFrames()
	_, _ = writer.WriteString(http2.ClientPreface)
	_ = w.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 24},
		http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	_ = w.framer.WriteWindowUpdate(0, 1<<30)
	return w, writer.Flush()
}

// fixed returns the headers that all calls have, as a block of which no part refers to an earlier one.
func fixed(o options) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSizeLimit(0)
	for _, header := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", service + "ExchangeToken"}, {":authority", o.target},
		{"content-type", "application/grpc"}, {"te", "trailers"},
		{"tokenmint-client-id", o.id}, {"tokenmint-client-secret", o.secret},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: header[0], Value: header[1]})
	}
	return block.Bytes()
}

// headers returns the block of a call: the fixed headers and its deadline, as a literal without indexing (RFC 7541
// section 6.2.2).
func (w *wire) headers(left time.Duration) []byte {
	const name = "grpc-timeout"
	block := append(w.block[:len(w.block):cap(w.block)], 0, byte(len(name)))
	block = append(block, name...)
	at := len(block)
	block = strconv.AppendInt(append(block, 0), max(1, left.Microseconds()), 10)
	block = append(block, 'u')
	block[at] = byte(len(block) - at - 1)
	return block
}

// begin starts a call, if the server allows one more now.
func (w *wire) begin(call offered, now time.Time) bool {
	message := w.line.requests[(int64(w.line.o.from)+call.number)%int64(len(w.line.requests))]
	if w.failure != nil || len(w.open) >= w.allowed || int64(len(message)) > w.window {
		return false
	}
	call.stream, w.next = w.next, w.next+2
	w.window -= int64(len(message))
	_ = w.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: call.stream, EndHeaders: true, BlockFragment: w.headers(call.due.Add(patience(w.line.o)).Sub(now)),
	})
	_ = w.framer.WriteData(call.stream, true, message)
	w.open[call.stream] = call.due
	w.sent = append(w.sent, call)
	return true
}

// reset ends the calls that were due at last or before. Returns when they were due.
func (w *wire) reset(last time.Time) []time.Time {
	var found []time.Time
	for len(w.sent) > 0 && !w.sent[0].due.After(last) {
		call := w.sent[0]
		w.sent = w.sent[1:]
		if _, ok := w.open[call.stream]; ok {
			delete(w.open, call.stream)
			_ = w.framer.WriteRSTStream(call.stream, http2.ErrCodeCancel)
			found = append(found, call.due)
		}
	}
	return found
}

func (w *wire) flush() {
	if err := w.writer.Flush(); err != nil {
		w.fail(err)
	}
}

func (w *wire) fail(err error) {
	if w.failure == nil {
		w.failure = fmt.Errorf("a connection ended: %w", err)
		w.socket.Close()
	}
}

// receive takes what the server sends until the connection ends.
func (w *wire) receive() {
	for {
		frame, err := w.framer.ReadFrame()
		w.line.lock.Lock()
		var left bool
		if err == nil {
			left, err = w.take(frame)
		}
		if err != nil {
			w.fail(err)
			w.line.lock.Unlock()
			return
		}
		left = left && len(w.line.waiting) > 0
		w.line.lock.Unlock()
		if left {
			select {
			case w.line.wake <- struct{}{}:
			default:
			}
		}
	}
}

// take handles one frame. Returns whether more may be sent now.
func (w *wire) take(frame http2.Frame) (bool, error) {
	stream := frame.Header().StreamID
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if frame.IsAck() {
			return false, nil
		}
		if most, ok := frame.Value(http2.SettingMaxConcurrentStreams); ok {
			w.allowed = int(min(most, 1<<20))
		}
		_ = w.framer.WriteSettingsAck()
		return true, nil
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = w.framer.WritePing(true, frame.Data)
		}
		return true, nil
	case *http2.WindowUpdateFrame:
		if stream == 0 {
			w.window += int64(frame.Increment)
		}
		return true, nil
	case *http2.GoAwayFrame:
		return false, fmt.Errorf("GOAWAY %v", frame.ErrCode)
	case *http2.DataFrame:
		if data := frame.Data(); len(data) > prefix {
			w.replies[stream] += tokensIn(data[prefix:], "exchange")
		}
		return false, nil
	case *http2.RSTStreamFrame:
		return w.over(stream, 0, errors.New("reset by the server: "+frame.ErrCode.String())), nil
	case *http2.HeadersFrame:
		w.code, w.text = "", ""
		if _, err := w.decoder.Write(frame.HeaderBlockFragment()); err != nil || !frame.HeadersEnded() {
			return false, errors.Join(errors.New("headers that can't be read"), err)
		}
		if !frame.StreamEnded() {
			return false, nil
		}
		tokens := w.replies[stream]
		delete(w.replies, stream)
		return w.over(stream, tokens, w.outcome(tokens)), nil
	}
	return false, nil
}

// outcome returns the error that the trailers stand for.
func (w *wire) outcome(tokens int64) error {
	number, err := strconv.ParseUint(w.code, 10, 32)
	switch {
	case err != nil:
		return fmt.Errorf("grpc-status %q", w.code)
	case number != 0:
		return status.Error(codes.Code(number), w.text)
	case tokens != 1:
		return fmt.Errorf("%d tokens where 1 is due", tokens)
	}
	return nil
}

// over records the end of a call that has not ended before.
func (w *wire) over(stream uint32, tokens int64, err error) bool {
	due, ok := w.open[stream]
	if ok {
		delete(w.open, stream)
		w.line.ended(due, tokens, err)
	}
	return ok
}
