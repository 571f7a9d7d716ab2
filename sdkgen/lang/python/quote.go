package python

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/souk-market/souk/sdkgen"
)

// literal is a text as a string of Python, without control characters or any that hide.
func literal(text string) sdkgen.Code {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == utf8.RuneError || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return sdkgen.Trusted(b.String())
}

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

// docstring writes a text as the docstring of what stands above. Quotation marks and
// backslashes are escaped, so that nothing in the text can end it.
func docstring(p *sdkgen.Printer, text string) {
	lines := sdkgen.Wrap(text, 90)
	for i, line := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(line)
	}
	if len(lines) == 0 {
		return
	}
	if len(lines) == 1 {
		p.L(`"""§"""`, sdkgen.Trusted(lines[0]))
		return
	}
	p.L(`"""§`, sdkgen.Trusted(lines[0]))
	for _, line := range lines[1:] {
		if line == "" {
			p.L("")
			continue
		}
		p.L("§", sdkgen.Trusted(line))
	}
	p.L(`"""`)
}

// comment writes a text as comment lines.
func comment(p *sdkgen.Printer, text string) {
	for _, line := range sdkgen.Wrap(text, 90) {
		if line != "" {
			line = " " + line
		}
		p.L("#§", sdkgen.Trusted(line))
	}
}
