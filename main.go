// Command souk is a marketplace for APIs in one program: the console where people sell,
// buy and watch, the gateway that counts every call, and the tools around them.
package main

import (
	"os"

	_ "github.com/souk-market/souk/console/standard" // the plug-ins of the standard build
	"github.com/souk-market/souk/examples/command"
	_ "github.com/souk-market/souk/gateway/standard" // and its filters
)

func main() { os.Exit(command.Main()) }
