package gosdk

import (
	"go/token"
	"strings"

	"github.com/souk-market/souk/sdkgen"
)

// acronyms are written in one case.
var acronyms = map[string]bool{
	"api": true, "id": true, "ip": true, "url": true, "uri": true, "http": true, "https": true, "json": true,
	"xml": true, "html": true, "sql": true, "uuid": true, "sms": true, "ocr": true, "utc": true, "cpu": true,
}

func pascal(words sdkgen.Words) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case acronyms[w]:
			b.WriteString(strings.ToUpper(w))
		default:
			// Two numbers side by side would make one.
			if i > 0 && isDigit(w[0]) && isDigit(words[i-1][len(words[i-1])-1]) {
				b.WriteByte('_')
			}
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func joined(words sdkgen.Words) string { return strings.Join(words, "") }

func dashed(words sdkgen.Words) string { return strings.Join(words, "-") }

// reservedPackage are names that a package should not take from the samples and from us.
func reservedPackage(name string) bool {
	switch name {
	case "main", "core", "context", "fmt", "log", "client", "answer", "err", "init", "string", "any", "error", "test":
		return true
	}
	return token.IsKeyword(name)
}
