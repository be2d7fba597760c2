package ftp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
)

// siteCommand is one of the commands behind SITE.
type siteCommand struct {
	name, usage string
	arg         argument
	run         func(*conn, context.Context, string) reply
}

// siteCommands are those that clients use. There is none that copies or that
// removes a tree.
func siteCommands() [5]siteCommand {
	return [...]siteCommand{
		{"CHMOD", "CHMOD mode name", required, (*conn).siteChmod},
		{"HELP", "HELP [command]", optional, (*conn).siteHelp},
		{"IDLE", "IDLE [seconds]", optional, (*conn).siteIdle},
		{"SYMLINK", `SYMLINK target name (names with spaces in quotes)`, required, (*conn).siteSymlink},
		{"UTIME", "UTIME YYYYMMDDhhmm[ss] name", required, (*conn).siteUtime},
	}
}

// site answers what it does not know with 504 and never as done, since a client
// would believe it.
func (c *conn) site(ctx context.Context, arg string) reply {
	name, rest, _ := strings.Cut(arg, " ")
	for _, cmd := range siteCommands() {
		if strings.EqualFold(cmd.name, name) {
			if cmd.arg == required && rest == "" {
				return replySyntax
			}
			c.asks("SITE " + cmd.name)
			return cmd.run(c, ctx, rest)
		}
	}
	return replyParameter
}

func (c *conn) siteHelp(_ context.Context, arg string) reply {
	lines := []string{"The following SITE commands are recognized."}
	for _, cmd := range siteCommands() {
		if strings.EqualFold(cmd.name, arg) {
			return reply{214, "Syntax: SITE " + cmd.usage}
		}
		lines = append(lines, cmd.usage)
	}
	if arg != "" {
		return replyParameter
	}
	return reply{214, strings.Join(lines, "\n") + "\nHelp OK."}
}

func (c *conn) siteChmod(ctx context.Context, arg string) reply {
	digits, name, _ := strings.Cut(arg, " ")
	mode, ok := parseMode(digits)
	if !ok || name == "" {
		return replySyntax
	}
	return c.onPath(name, func(path string) error {
		return c.files.SetAttr(ctx, path, storage.Attr{Perm: &mode})
	}, func(string) reply { return reply{200, "SITE CHMOD command successful."} })
}

func (c *conn) siteUtime(ctx context.Context, arg string) reply {
	attr, name, ok := parseUtime(arg)
	if !ok {
		return replySyntax
	}
	return c.onPath(name, func(path string) error {
		return c.files.SetAttr(ctx, path, attr)
	}, func(string) reply { return reply{200, "SITE UTIME command successful."} })
}

// parseUtime reads "YYYYMMDDhhmm[ss] name", or as ncftp has it "name" with times
// of access, change and creation and "UTC" behind it.
func parseUtime(arg string) (attr storage.Attr, name string, ok bool) {
	words := strings.Split(arg, " ")
	if n := len(words); n > 4 && strings.EqualFold(words[n-1], "UTC") {
		access, first := parseStamp(words[n-4])
		modified, second := parseStamp(words[n-3])
		if _, third := parseStamp(words[n-2]); first && second && third {
			name = strings.Join(words[:n-4], " ")
			return storage.Attr{Access: &access, ModTime: &modified}, name, name != ""
		}
	}
	digits, name, _ := strings.Cut(arg, " ")
	if len(digits) == len("200601021504") {
		digits += "00"
	}
	at, ok := parseStamp(digits)
	return storage.Attr{ModTime: &at}, name, ok && name != ""
}

func (c *conn) siteSymlink(ctx context.Context, arg string) reply {
	names, ok := parseNames(arg)
	if !ok || len(names) != 2 {
		return replySyntax
	}
	return c.onPath(names[1], func(path string) error {
		return c.files.Symlink(ctx, names[0], path)
	}, func(string) reply { return reply{200, "SITE SYMLINK command successful."} })
}

// parseNames divides words, where one with spaces stands in quotes and a quote in
// it is doubled. No word may be empty.
func parseNames(arg string) (names []string, ok bool) {
	for arg = strings.TrimLeft(arg, " "); arg != ""; arg = strings.TrimLeft(arg, " ") {
		var name string
		if arg[0] != '"' {
			name, arg, _ = strings.Cut(arg, " ")
			names = append(names, name)
			continue
		}
		for arg != "" && arg[0] == '"' { // `"a""b"` is a"b
			part, rest, closed := strings.Cut(arg[1:], `"`)
			if !closed {
				return nil, false
			}
			if name += part; strings.HasPrefix(rest, `"`) {
				name += `"`
			}
			arg = rest
		}
		if name == "" || arg != "" && arg[0] != ' ' {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// leastIdle is the shortest time that SITE IDLE sets.
const leastIdle = 30 * time.Second

// siteIdle tells or shortens the time after which silence ends the connection; no
// client can make it longer than it is configured.
func (c *conn) siteIdle(_ context.Context, arg string) reply {
	longest := c.cfg.IdleTimeout
	shortest := min(leastIdle, longest)
	if arg == "" {
		return reply{200, fmt.Sprintf("Current IDLE time limit is %d seconds; max %d.", whole(c.idle), whole(longest))}
	}
	seconds, err := strconv.ParseUint(arg, 10, 31)
	if limit := time.Duration(seconds) * time.Second; err == nil && limit >= shortest && limit <= longest {
		c.idle = limit
		return reply{200, fmt.Sprintf("Maximum IDLE time set to %d seconds.", seconds)}
	}
	return reply{501, fmt.Sprintf("Maximum IDLE time must be between %d and %d seconds.", whole(shortest), whole(longest))}
}

func whole(d time.Duration) int64 { return int64(d / time.Second) }

// avbl tells how many bytes fit (draft-peterson-streamlined-ftp-command-extensions,
// section 4). The room is that of the account, whatever the folder.
func (c *conn) avbl(ctx context.Context, arg string) reply {
	var space storage.Space
	return c.onPath(arg, func(path string) error {
		info, err := c.files.Stat(ctx, path)
		if err == nil && !info.IsDir() {
			err = session.ErrNotDirectory
		}
		if err == nil {
			space, err = c.files.Space(ctx)
		}
		return err
	}, func(string) reply { return reply{213, strconv.FormatUint(space.Available, 10)} })
}
