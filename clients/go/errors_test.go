package tokenmint

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestACallThatTheServerEndedIsNotACancelledContext(t *testing.T) {
	ended := status.Error(codes.Canceled, "CANCELLED")
	if err := fromCall(t.Context(), ended); errors.Is(err, context.Canceled) || ReasonOf(err) != "CANCELLED" {
		t.Fatalf("the context lives, and the call ended as %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fromCall(gone, ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("the context was cancelled, and the call ended as %v", err)
	}
}
