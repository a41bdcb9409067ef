package tokenmint

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "tokenmint.dev/client-go/tokenmintv1"
)

func said(position, name string, after int64, age time.Duration) *pb.WatchRevocationsResponse {
	message := &pb.WatchRevocationsResponse{Position: position, Age: durationpb.New(age)}
	if name != "" {
		sum := digestOf(name)
		message.Revocations = []*pb.Revocation{
			{Digest: sum[:], TokensValidAfter: after, ExpireTime: &timestamppb.Timestamp{Seconds: 1 << 33}},
		}
	}
	return message
}

func claimsOf(t *testing.T, issued int64) *Claims {
	t.Helper()
	return &Claims{IssuedAt: time.Unix(issued, 500_000_000), Raw: map[string]any{
		"jti": "t3", "sub": "ada", "client_id": "web", "aud": audience, "tm_lineage": []any{"t1", 7, "t2"},
		"act": map[string]any{"sub": "helper", "act": map[string]any{
			"sub": "other", "iss": "https://idp.example", "act": map[string]any{"sub": "first"}}},
	}}
}

func TestATokenIsRefusedByAnyOfItsNames(t *testing.T) {
	for _, row := range []struct {
		name    string
		after   int64
		refused bool
	}{
		{"token:t3", 0, true}, {"token:t1", 0, true}, {"token:t2", 0, true}, {"token:t4", 0, false},
		{"principal:ada", 1000, true}, {"principal:ada", 999, false}, {"principal:helper", 1000, true},
		{"principal:first", 1000, true}, {"principal:other", 1000, false}, {"client:web", 1000, true},
		{"client:ada", 1000, false}, {"audience:" + audience, 1000, true}, {"key:k1", 0, true}, {"key:k2", 0, false},
	} {
		r := NewRevocations(&Client{}, audience)
		if err := r.take(said("0.1-0", row.name, row.after, 0)); err != nil {
			t.Fatal(err)
		}
		if got := r.covers(claimsOf(t, 1000), "k1"); got != row.refused {
			t.Errorf("%s after %d: %v", row.name, row.after, got)
		}
	}
}

func TestAnAudienceMayBeAListOfOne(t *testing.T) {
	for named, refused := range map[string]bool{audience: true, "https://others.example": false} {
		r := NewRevocations(&Client{}, audience)
		if err := r.take(said("0.1-0", "audience:"+audience, 1000, 0)); err != nil {
			t.Fatal(err)
		}
		claims := claimsOf(t, 1000)
		claims.Raw["aud"] = []any{named}
		if got := r.covers(claims, "k1"); got != refused {
			t.Errorf("%s: %v", named, got)
		}
	}
}

func TestAClockThatIsAheadForAWhileForgetsNothing(t *testing.T) {
	wall, elapsed := time.Unix(5000, 0), time.Unix(0, 0)
	r := NewRevocations(&Client{}, audience)
	r.now, r.monotonic = func() time.Time { return wall }, func() time.Time { return elapsed }
	for _, step := range []struct {
		name         string
		wall, served int64 // Unix seconds; 0: it is not told
		held         int
	}{
		{"clocks agree", 5000, 5000, 1},
		{"its own is ahead", 8600, 5100, 1},
		{"the service does not tell", 8700, 0, 1},
		{"its own is set back", 5200, 5200, 1},
		{"the service's is ahead", 5300, 9000, 1},
		{"it has expired by both", 6000, 6000, 0},
	} {
		wall, elapsed = time.Unix(step.wall, 0), elapsed.Add(pruneEvery)
		message := said("0.1-0", "", 0, 0)
		if r.position == "" {
			message = said("0.1-0", "token:t1", 0, 0)
			message.Revocations[0].ExpireTime.Seconds = 6000
		}
		if step.served != 0 {
			message.Time = &timestamppb.Timestamp{Seconds: step.served}
		}
		if err := r.take(message); err != nil || len(r.held) != step.held {
			t.Errorf("%s: %d entries, %v", step.name, len(r.held), err)
		}
		if r.covers(claimsOf(t, 1), "k") != (step.held == 1) {
			t.Errorf("%s: the token is judged otherwise", step.name)
		}
	}
}

func TestASetThatIsTooOldRefusesOrAcceptsAsItIsTold(t *testing.T) {
	now := time.Unix(5000, 0)
	clock := WithRevocationsClock(func() time.Time { return now })
	closed := NewRevocations(&Client{}, audience, clock, WithMaxLag(10*time.Second))
	open := NewRevocations(&Client{}, audience, clock, WithMaxLag(10*time.Second), WithAcceptWhenLagging())
	for _, r := range []*Revocations{closed, open} {
		r.begin.Do(func() {}) // nothing follows
		if reason := ReasonOf(r.check(t.Context(), claimsOf(t, 1), "k")); (reason == RevocationsUnavailable) == r.accept {
			t.Errorf("without a snapshot: %q", reason)
		}
		_ = r.take(said("", "client:nobody", 1, 0))
		_ = r.take(said("0.1-0", "token:t1", 0, 4*time.Second))
	}
	other := &Claims{IssuedAt: now, Raw: map[string]any{"jti": "t9"}}
	for _, step := range []struct {
		later  time.Duration
		reason Reason
	}{{6 * time.Second, ""}, {time.Second, RevocationsUnavailable}} {
		now = now.Add(step.later)
		if reason := ReasonOf(closed.check(t.Context(), other, "k")); reason != step.reason {
			t.Errorf("lag %s: %q", closed.Lag(), reason)
		}
		if err := open.check(t.Context(), other, "k"); err != nil {
			t.Error(err)
		}
		for _, r := range []*Revocations{closed, open} {
			if reason := ReasonOf(r.check(t.Context(), claimsOf(t, 1), "k")); reason != Revoked {
				t.Errorf("a revoked token: %q", reason)
			}
		}
	}
	_ = closed.take(said("0.1-0", "", 0, 30*time.Second)) // of a replica that is away from the store
	if closed.Lag() != 11*time.Second {
		t.Error(closed.Lag())
	}
}

func TestEntriesMergeInAnyOrderAndExpire(t *testing.T) {
	now := time.Unix(1, 0)
	r := NewRevocations(&Client{}, audience, WithRevocationsClock(func() time.Time { return now }))
	for _, after := range []int64{5, 9, 7} {
		_ = r.take(said("0.1-0", "client:web", after, 0))
	}
	if !r.covers(claimsOf(t, 9), "k") || r.covers(claimsOf(t, 10), "k") {
		t.Error("the latest second counts")
	}
	_ = r.take(&pb.WatchRevocationsResponse{Revocations: []*pb.Revocation{{Digest: []byte("short")}}})
	now = time.Unix(1<<33, 0)
	_ = r.take(said("0.1-0", "", 0, 0))
	if len(r.held) != 0 {
		t.Error(len(r.held))
	}
}

type told struct {
	pb.UnimplementedRevocationServiceServer
	mutex     sync.Mutex
	positions []string
	turns     []func(pb.RevocationService_WatchRevocationsServer) error
	open      chan struct{}
}

func (s *told) WatchRevocations(request *pb.WatchRevocationsRequest, stream pb.RevocationService_WatchRevocationsServer) error {
	s.mutex.Lock()
	s.positions = append(s.positions, request.GetPosition())
	turn := len(s.positions) - 1
	s.mutex.Unlock()
	if turn < len(s.turns) {
		return s.turns[turn](stream)
	}
	if turn == len(s.turns) {
		close(s.open)
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func TestItGoesOnWhereItWasAfterAnEndAFailureAndARefusal(t *testing.T) {
	service := &told{open: make(chan struct{}), turns: []func(pb.RevocationService_WatchRevocationsServer) error{
		func(stream pb.RevocationService_WatchRevocationsServer) error {
			return stream.Send(said("0.1-0", "token:a", 0, 0))
		},
		func(stream pb.RevocationService_WatchRevocationsServer) error {
			_ = stream.Send(said("", "token:b", 0, 0))
			return status.Error(codes.Internal, "the replica ends")
		},
		func(pb.RevocationService_WatchRevocationsServer) error {
			return status.Error(codes.PermissionDenied, "not now")
		},
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterRevocationServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	client, err := New(listener.Addr().String(), WithPlaintext(), WithPublicClient("api"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	lags := 0
	r := NewRevocations(client, audience, WithOnLag(func(time.Duration) { lags++ }))
	r.Start()
	select {
	case <-service.open:
	case <-time.After(20 * time.Second):
		t.Fatal("it did not begin anew")
	}
	for name, reason := range map[string]Reason{"a": Revoked, "b": Revoked, "c": ""} {
		claims := &Claims{IssuedAt: time.Unix(1, 0), Raw: map[string]any{"jti": name}}
		if got := ReasonOf(r.check(context.Background(), claims, "k")); got != reason {
			t.Errorf("%s: %q", name, got)
		}
	}
	if r.Failure() != codes.PermissionDenied.String() {
		t.Error(r.Failure())
	}
	r.Close()
	want := []string{"", "0.1-0", "0.1-0", "0.1-0"}
	for place, position := range want {
		if service.positions[place] != position {
			t.Error(service.positions)
		}
	}
	if lags == 0 {
		t.Error("on_lag was not called")
	}
}

func TestCloseOfWhatNeverBegan(t *testing.T) {
	NewRevocations(&Client{}, audience).Close()
}
