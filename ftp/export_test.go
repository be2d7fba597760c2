package ftp

import (
	"maps"
	"slices"
)

// Verbs are those of the command table.
func Verbs() []string { return slices.Sorted(maps.Keys(commandTable())) }

// MaxDepth is how deep LIST -R goes.
const MaxDepth = maxDepth
