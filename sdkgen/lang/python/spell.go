package python

import (
	"strings"

	"github.com/souk-market/souk/sdkgen"
)

func snake(words sdkgen.Words) string { return strings.Join(words, "_") }

func dashed(words sdkgen.Words) string { return strings.Join(words, "-") }

func pascal(words sdkgen.Words) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 && isDigit(w[0]) && isDigit(words[i-1][len(words[i-1])-1]) {
			b.WriteByte('_') // two numbers side by side would make one
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// reserved are the words of the language and the names that generated code uses.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`
		False None True and as assert async await break class continue def del elif else except finally
		for from global if import in is lambda nonlocal not or pass raise return try while with match case type
		print str int float bool list dict bytes object set tuple property super self cls call timeout
		dataclass field annotations core extra client answer error test init`) {
		m[w] = true
	}
	return m
}()

func isReserved(name string) bool { return reserved[name] }

// isReservedClass are the names that a module of a product imports.
func isReservedClass(name string) bool {
	switch name {
	case "Any", "Dict", "List", "Optional", "Service", "Answer", "Call", "Core", "File", "None", "True", "False":
		return true
	}
	return false
}
