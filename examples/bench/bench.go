// Package bench measures what the whole gateway costs: a call through it beside the same
// call through a bare proxy of the same HTTP library that checks and counts nothing. The
// two take turns in short blocks, so that a machine that slows down slows both.
//
// Beside other programs it is compared by the command beside, and solo is a gateway that is
// ready for that; peer.json describes it to benchmarks of that form that others have.
//
// What single rooms cost is measured in their own timing tests.
package bench
