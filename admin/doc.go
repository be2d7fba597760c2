// Package admin is the service behind the commands: accounts, rules, sessions,
// bans, the queue. A command calls it in the running gateway through the control
// socket, or, when none runs, on the state itself; the code is the same. Each
// change is recorded before it begins and when it is done, with who asked for it.
package admin
