// Package standard has the filters of the standard build: who imports it gets all of them.
// A build of your own imports those that it wants instead, and its own beside them, as
// examples/filter-outside does; a setting that names a filter which is not there is refused
// when it is saved.
//
// In the order in which they see a call: address, cors, size, jwt, basic, access, schema,
// cache, breaker, charge, rewrite, errors, sign.
package standard

import (
	_ "github.com/souk-market/souk/gateway/filter/access"
	_ "github.com/souk-market/souk/gateway/filter/address"
	_ "github.com/souk-market/souk/gateway/filter/basic"
	_ "github.com/souk-market/souk/gateway/filter/breaker"
	_ "github.com/souk-market/souk/gateway/filter/cache"
	_ "github.com/souk-market/souk/gateway/filter/charge"
	_ "github.com/souk-market/souk/gateway/filter/cors"
	_ "github.com/souk-market/souk/gateway/filter/errors"
	_ "github.com/souk-market/souk/gateway/filter/jwt"
	_ "github.com/souk-market/souk/gateway/filter/rewrite"
	_ "github.com/souk-market/souk/gateway/filter/schema"
	_ "github.com/souk-market/souk/gateway/filter/sign"
	_ "github.com/souk-market/souk/gateway/filter/size"
)
