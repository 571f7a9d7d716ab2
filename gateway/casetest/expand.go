package casetest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// How says with what the calls of a case authenticate.
type How int

// The ways.
const (
	ByAppCode How = iota
	BySignature
)

// String names it.
func (h How) String() string {
	if h == BySignature {
		return "signature"
	}
	return "AppCode"
}

var placeholder = regexp.MustCompile(`\{\{(?:REP:(\d+):([^}]*)|([A-Z]+)(?:\.([a-z0-9]+))?)\}\}`)

// expand puts the values into a text of a case, a byte for each character.
func (l *Lane) expand(c *Case, how How, text string) string {
	return l.signAll(bytesOf(l.fill(c, how, text)), how)
}

func (l *Lane) fill(c *Case, how How, text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		if m[1] != "" {
			n, _ := strconv.Atoi(m[1]) // it was matched
			return strings.Repeat(m[2], n)
		}
		switch m[3] {
		case "HOST":
			return l.Host
		case "P":
			return l.Prefix
		case "UPPORT":
			return strconv.Itoa(l.Seller.Port)
		case "AUTH":
			return l.credential(how, "\r\n")
		case "AUTHLF":
			return l.credential(how, "\n")
		}
		block := l.fill(c, how, c.Blocks[m[3]])
		size := len(bytesOf(block))
		decimal := strconv.Itoa(size)
		switch m[4] {
		case "":
			return block
		case "len":
			return decimal
		case "hex":
			return strconv.FormatInt(int64(size), 16)
		case "us":
			return decimal[:1] + "_" + decimal[1:]
		case "w32":
			return strconv.FormatInt(1<<32+int64(size), 10)
		case "w64":
			// 2^64 + size, which no integer holds.
			return "18446744073709" + fmt.Sprintf("%06d", 551616+size)
		}
		panic("casetest: placeholder " + p)
	})
}

// bytesOf makes a byte of each character.
func bytesOf(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// unsigned stands where a signature will be; it is as long as one, so that lengths are
// right before there are signatures.
const unsigned = "SIGNATURE-SIGNATURE-SIGNATURE-SIGNATURE-0000"

func (l *Lane) credential(how How, end string) string {
	if how == ByAppCode {
		return "Authorization: APPCODE " + l.AppCode + end
	}
	return signer.HeaderKey + ": " + l.Key + end + signer.HeaderSignatureHeaders + ": x-ca-key" + end + signer.HeaderSignature + ": " + unsigned + end
}

var requestLine = regexp.MustCompile(`([!-~]+) +(/[^ \t\r\n]*)[^\n]*\n`)

// signAll signs each message of a stream whose request line can be understood. Where it
// cannot, the signature stays wrong: such a message is to be refused for its line.
func (l *Lane) signAll(text string, how How) string {
	if how != BySignature {
		return text
	}
	for {
		at := strings.Index(text, unsigned)
		if at < 0 {
			return text
		}
		signature := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
		if lines := requestLine.FindAllStringSubmatchIndex(text[:at], -1); lines != nil {
			m := lines[len(lines)-1]
			head, _, _ := strings.Cut(text[m[1]:], "\r\n\r\n")
			signature = l.sign(text[m[2]:m[3]], text[m[4]:m[5]], head)
		}
		text = text[:at] + signature + text[at+len(unsigned):]
	}
}

func (l *Lane) sign(method, target, head string) string {
	var fields wire.Fields
	for line := range strings.SplitSeq(head, "\n") {
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, wire.Field{Name: []byte(name), Value: bytes.TrimSpace([]byte(value))})
	}
	var v signer.Verifier
	mac := hmac.New(sha256.New, []byte(l.Secret))
	mac.Write(v.StringToSign(&signer.Request{Method: []byte(method), Target: []byte(target), Headers: &fields}, signer.Canonical))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
