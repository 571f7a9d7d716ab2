// Package tally says what has to be remembered of past calls for a while: nonces. Where it
// is remembered is a home's affair; tally/memory is the home of a single node.
package tally

import (
	"errors"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Errors of Nonces.
var (
	// ErrUsed: the app has used the nonce before.
	ErrUsed = errors.New("tally: nonce used")
	// ErrFull: the app has no room left. To forget a nonce instead would let a call be
	// replayed.
	ErrFull = errors.New("tally: no room for nonces")
)

// Nonces remembers the nonces of each app for at least as long as a signed call can be
// valid. Its methods may be called from many goroutines.
type Nonces interface {
	// Use remembers a nonce, once: of two calls with the same one, be it at the same
	// moment, one gets ErrUsed.
	Use(app control.AppID, nonce []byte, now time.Time) error
}
