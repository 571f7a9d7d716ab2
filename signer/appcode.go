package signer

import "bytes"

// Place is where an AppCode was found.
type Place uint8

// The places of an AppCode.
const (
	Nowhere  Place = iota
	InHeader       // Authorization: APPCODE …
	InQuery        // one of the five spellings
)

// scheme is the word before an AppCode in the header Authorization.
var scheme = []byte("APPCODE")

// spellings are the names that an AppCode may have in a query. Every other spelling is an
// ordinary parameter.
var spellings = [...]string{"AppCode", "appcode", "appCode", "APPCODE", "APPCode"}

// AppCode finds the AppCode of a request; protocol section 3. The header decides alone;
// in the query the first one decides. The code may be empty, which no app has.
//
// The code is a part of authorization or of query, or, if it had to be decoded, stands in
// the room of buf, which may be nil.
func AppCode(authorization, query, buf []byte) ([]byte, Place) {
	if code, ok := headerCode(authorization); ok {
		return code, InHeader
	}
	for len(query) > 0 {
		var piece []byte
		piece, query = cut(query, '&')
		name, value := cut(piece, '=')
		if !isSpelling(name) {
			continue
		}
		if escaped(value) {
			value = AppendDecoded(buf[:0], value, true)
		}
		return value, InQuery
	}
	return nil, Nowhere
}

func headerCode(authorization []byte) ([]byte, bool) {
	v := trim(authorization)
	if len(v) < len(scheme) || !equalFold(v[:len(scheme)], scheme) {
		return nil, false
	}
	v = v[len(scheme):]
	if len(v) > 0 && v[0] != ' ' && v[0] != '\t' {
		return nil, false
	}
	return trim(v), true
}

// AppendWithoutAppCode appends a raw query without the parameters that are AppCodes, all of
// them and in any spelling. What is left is left byte for byte.
func AppendWithoutAppCode(dst, query []byte) []byte {
	first := true
	for more := len(query) > 0; more; {
		piece := query
		i := bytes.IndexByte(query, '&')
		if more = i >= 0; more {
			piece, query = query[:i], query[i+1:]
		}
		if name, _ := cut(piece, '='); isSpelling(name) {
			continue
		}
		if !first {
			dst = append(dst, '&')
		}
		dst = append(dst, piece...)
		first = false
	}
	return dst
}

// isSpelling compares the name as the seller's server would read it, so that an escaped
// letter does not smuggle a code through.
func isSpelling(name []byte) bool {
	var room [3 * len("AppCode")]byte
	if len(name) > len(room) {
		return false
	}
	if escaped(name) {
		name = AppendDecoded(room[:0], name, true)
	}
	for _, s := range spellings {
		if string(name) == s {
			return true
		}
	}
	return false
}
