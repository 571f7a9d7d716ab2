package sdkgen

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Raw is source text of our own. Untyped constants become one by themselves; a variable
// does not, so that text of a description cannot get into source by mistake.
type Raw string

// Code is text that may stand in source: an identifier that we made, a quoted literal, or
// something put together of these.
type Code struct{ text string }

// String is the text.
func (c Code) String() string { return c.text }

// Trusted makes Code of text. Only quoting functions may call it, each in the file
// quote.go of its language; a test looks.
func Trusted(text string) Code { return Code{text} }

// Join puts pieces in the places of the format that are marked with “§”.
func Join(format Raw, pieces ...Code) Code {
	var b strings.Builder
	rest := string(format)
	for _, p := range pieces {
		before, after, ok := strings.Cut(rest, "§")
		if !ok {
			panic("sdkgen: more pieces than places in " + string(format))
		}
		b.WriteString(before)
		b.WriteString(p.text)
		rest = after
	}
	if strings.Contains(rest, "§") {
		panic("sdkgen: fewer pieces than places in " + string(format))
	}
	b.WriteString(rest)
	return Code{b.String()}
}

// List puts pieces in a row.
func List(sep Raw, pieces []Code) Code {
	texts := make([]string, len(pieces))
	for i, p := range pieces {
		texts[i] = p.text
	}
	return Code{strings.Join(texts, string(sep))}
}

// Printer writes source line by line.
type Printer struct {
	text   strings.Builder
	unit   string // one step of indentation
	indent int
}

// NewPrinter makes a printer that indents by unit.
func NewPrinter(unit Raw) *Printer { return &Printer{unit: string(unit)} }

// L writes a line.
func (p *Printer) L(format Raw, pieces ...Code) {
	line := Join(format, pieces...).text
	if line != "" {
		for range p.indent {
			p.text.WriteString(p.unit)
		}
	}
	p.text.WriteString(line)
	p.text.WriteByte('\n')
}

// In indents what f writes.
func (p *Printer) In(f func()) {
	p.indent++
	f()
	p.indent--
}

// String is what was written.
func (p *Printer) String() string { return p.text.String() }

// maxDoc bounds a text of a description in a comment.
const maxDoc = 2000

// Clean makes a seller's text fit for reading: no control characters, none that turn the
// direction of writing or hide, lines ended by \n, and not too long.
func Clean(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n") {
		if r == utf8.RuneError || r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			if unicode.IsSpace(r) {
				r = ' '
			} else {
				continue
			}
		}
		if r == '\t' {
			r = ' '
		}
		if n++; n > maxDoc {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// Line is Clean on one line, cut to most characters.
func Line(text string, most int) string {
	line := []rune(strings.Join(strings.Fields(Clean(text)), " "))
	if len(line) > most {
		line = append(line[:most-1], '…')
	}
	return string(line)
}

// Wrap breaks a text into lines of about so many columns; a Chinese character is two.
func Wrap(text string, columns int) []string {
	var lines []string
	for line := range strings.SplitSeq(Clean(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			if len(lines) > 0 && lines[len(lines)-1] != "" {
				lines = append(lines, "")
			}
			continue
		}
		lines = append(lines, wrapLine(line, columns)...)
	}
	return lines
}

func wrapLine(line string, columns int) []string {
	var lines []string
	width, start, space := 0, 0, -1
	for i, r := range line {
		if r == ' ' {
			space = i
		}
		if width += 1; r >= 0x2E80 {
			width++
		}
		if width <= columns {
			continue
		}
		end := i
		if space > start {
			end = space
		}
		if end > start {
			lines = append(lines, strings.TrimSpace(line[start:end]))
			width -= displayWidth(line[start:end])
			start = end
		}
	}
	if rest := strings.TrimSpace(line[start:]); rest != "" {
		lines = append(lines, rest)
	}
	return lines
}

func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		if n++; r >= 0x2E80 {
			n++
		}
	}
	return n
}

// markdown escapes what Markdown would take for markup, so that no link, picture or tag
// of a seller's gets into a page.
var markdown = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`,
	"!", `\!`, "#", `\#`, "~", `\~`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "://", ":&#47;&#47;",
)

// Markdown is a text on one line of a Markdown page.
func Markdown(text string) Code { return Code{markdown.Replace(Line(text, 300))} }
