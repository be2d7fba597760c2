// Package config reads gateway.hcl, the file that describes one node: its
// listeners, storage, certificates and limits. The rules are in policy.hcl
// (package policies), accounts and keys in the store (package auth).
//
// Reading is strict: an unknown setting, a wrong type or a value out of range
// stops the start, with file, line, the line itself and, where a name was
// mistyped, a suggestion. Everything that is wrong is reported at once. The
// settings of each part are the Config of its package; the reference in
// docs/config.md is printed from the same tables that read the file.
package config
