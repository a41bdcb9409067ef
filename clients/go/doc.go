// Package tokenmint gets tokens from a tokenmint service and verifies them.
//
// A caller makes a [Client], and from it a [TokenSource], which exchanges the token of a user or workload for one that
// a single audience accepts, keeps it, and gets the next one before it expires. [BoundSource.Transport] and
// [BoundSource.PerRPCCredentials] send it along with the caller's own requests.
//
// A service makes a [Verifier], which needs no call to tokenmint but for its key set, and puts [Verifier.Middleware],
// [Verifier.UnaryServerInterceptor] or [Verifier.StreamServerInterceptor] before its handlers.
//
// Refusals are an [*Error] with a stable [Reason] to branch on.
package tokenmint
