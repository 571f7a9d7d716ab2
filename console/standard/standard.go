// Package standard has the plug-ins of the standard build: who imports it gets the whole
// marketplace. A build of your own imports what it wants instead.
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
