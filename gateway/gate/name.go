package gate

import "github.com/souk-market/souk/gateway/wire"

// Reserved reports whether a setting may not write this header of a request: it is no
// name, it concerns the connection, or only the gateway writes it.
func Reserved(name []byte) bool {
	return !wire.IsToken(name) || perConnection.has(name) || ours.has(name)
}

// ReservedAnswer is Reserved for headers of an answer.
func ReservedAnswer(name []byte) bool {
	return !wire.IsToken(name) || perConnection.has(name) || notTheirs.has(name)
}
