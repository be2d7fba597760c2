// Package devices tells the owners of devices, and of exemptions from rules, that
// their time is nearly over.
//
// Which there are, and until when they are let in, say the rules (package
// policies); the mail goes out through the queue. What was sent is remembered in the
// store, so that each reminder is sent once, also over restarts.
package devices
