// Package standard has the languages of the standard build: who imports it can generate
// in all of them.
package standard

import (
	_ "github.com/souk-market/souk/sdkgen/lang/gosdk"  // go
	_ "github.com/souk-market/souk/sdkgen/lang/python" // python
)
