//go:build !race

package gatewaytest

// Race says that the race detector is on, which makes everything some ten times slower.
const Race = false
