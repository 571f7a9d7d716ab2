package gosdk

import (
	"strconv"
	"strings"

	"github.com/souk-market/souk/sdkgen"
)

// literal is a text as a string of Go, without control characters or any that hide.
func literal(text string) sdkgen.Code { return sdkgen.Trusted(strconv.Quote(text)) }

// number is a number, or 1 if the text is none.
func number(text string, whole bool) sdkgen.Code {
	if i, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return sdkgen.Trusted(strconv.FormatInt(i, 10))
	}
	if f, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && !whole && f-f == 0 {
		return sdkgen.Trusted(strconv.FormatFloat(f, 'g', -1, 64))
	}
	return sdkgen.Trusted("1")
}

// tag is the tag of a struct field. The name on the wire may be any text.
func tag(wire string, must bool) sdkgen.Code {
	text := "wire:" + strconv.Quote(wire)
	if must {
		text += ` must:"true"`
	}
	if strconv.CanBackquote(text) {
		return sdkgen.Trusted("`" + text + "`")
	}
	return sdkgen.Trusted(strconv.Quote(text))
}

// comment writes a text as comment lines. A blank stands after the slashes, so that
// nothing in the text can be a directive; "+build" needs none, and gets something before.
func comment(p *sdkgen.Printer, text string) {
	for _, line := range sdkgen.Wrap(text, 92) {
		if strings.HasPrefix(line, "+") {
			line = "· " + line
		}
		if line != "" {
			line = " " + line
		}
		p.L("//§", sdkgen.Trusted(line))
	}
}

// word is a word of a comment, or of a path that is shown in one.
func word(text string) sdkgen.Code { return sdkgen.Trusted(sdkgen.Line(text, 160)) }
