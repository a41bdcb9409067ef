package tokenmint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

const maxDetail = 200 // bytes of another library's message

// unusable is the fault of an answer that is no key set.
type unusable string

func (u unusable) Error() string { return string(u) }

// shownURL returns an address as messages show it: without user, password, query and fragment, which may hold a secret.
func shownURL(address *url.URL) string {
	return clipped((&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}).String())
}

// failure says why there is no key set.
func (k *keySet) failure() string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	cause := k.cause
	if cause == "" {
		cause = "it has not been fetched yet"
	}
	return fmt.Sprintf("the key set at %s can't be fetched: %s", k.shown, cause)
}

// causeOf tells why a fetch failed: DNS, connection refused, TLS, time, or the answer's fault.
func causeOf(err error) string {
	var fault unusable
	var name *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timed net.Error
	switch {
	case errors.As(err, &fault):
		return string(fault)
	case errors.As(err, &name):
		return "the host name can't be resolved (DNS)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.As(err, &untrusted):
		return clipped("TLS failed: " + untrusted.Err.Error())
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return clipped("TLS failed: " + unwrapped(err).Error())
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return fmt.Sprintf("there was no answer within %.0f s", fetchTimeout.Seconds())
	default:
		return clipped("the connection failed: " + unwrapped(err).Error())
	}
}

// unwrapped leaves out the address that net/http puts in front: it may hold a secret.
func unwrapped(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

func clipped(text string) string { return text[:min(len(text), maxDetail)] }
