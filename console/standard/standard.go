// Package standard is the console of the standard build: it imports every plug-in, product
// type, payment provider and SDK language for the effect that they register themselves.
package standard

import (
	_ "github.com/souk-market/souk/console/kind/api"
	_ "github.com/souk-market/souk/console/pay/sandbox"
	_ "github.com/souk-market/souk/console/plugin/account"
	_ "github.com/souk-market/souk/console/plugin/apis"
	_ "github.com/souk-market/souk/console/plugin/apps"
	_ "github.com/souk-market/souk/console/plugin/catalog"
	_ "github.com/souk-market/souk/console/plugin/order"
	_ "github.com/souk-market/souk/console/plugin/payment"
	_ "github.com/souk-market/souk/console/plugin/sdk"
	_ "github.com/souk-market/souk/console/plugin/service"
	_ "github.com/souk-market/souk/console/plugin/usage"
	_ "github.com/souk-market/souk/sdkgen/standard"
)
