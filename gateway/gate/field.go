package gate

import (
	"unsafe"

	"github.com/souk-market/souk/gateway/wire"
)

// Field and Fields are the lines of a head, as wire reads them.
type (
	Field  = wire.Field
	Fields = wire.Fields
)

// Alike compares two header names as a careless server would: letters without their case,
// and '_' as '-'.
func Alike(a, b []byte) bool { return wire.Alike(a, b) }

// Bytes are the bytes of a text, without a copy. They must not be changed.
func Bytes(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }
