// Package devices tells the owners of devices, of exemptions from rules, and of accounts
// whose logins in clear will be refused, that their time is nearly over.
//
// Which there are, and until when, say the rules (package
// policies) and the record; the mail goes out through the queue. What was sent is remembered in the
// store, so that each reminder is sent once, also over restarts.
package devices
