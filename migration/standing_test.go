package migration

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

// strict refuses what is in clear from June on, and lets the plant exempted.
type strict struct{}

func (strict) Decide(q session.Request) session.Verdict {
	june := time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case q.User == "cut" || q.User == "came":
		return session.Verdict{Insecure: true, Retry: q.Time.Add(time.Minute)}
	case q.User == "cnc" || q.Channel.Encrypted():
		return session.Verdict{Allowed: true}
	case q.Time.Before(june):
		return session.Verdict{Allowed: true, Notice: "until June"}
	default:
		return session.Verdict{}
	}
}

func (strict) Waived(q session.Request) []string {
	if q.User == "cnc" {
		return []string{`exempt "encrypted" "cnc"`}
	}
	return nil
}

func (strict) Changes(after time.Time) []time.Time {
	if june := time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC); june.After(after) {
		return []time.Time{june}
	}
	return nil
}

func (strict) FloorDays() int { return 3 }

func (strict) Instead(_ session.Protocol, c session.Client) string { return "Instead of " + c.String() }

func login(user string, day int, kind session.ChannelKind, method session.Method) session.Event {
	at := time.Date(2027, 5, day, 12, 0, 0, 0, time.UTC)
	facts := session.Request{
		Time: at, Protocol: session.FTP, Channel: kind, User: user, Method: method, Client: session.ClientWinSCP,
		Remote: netip.MustParseAddr("192.0.2.7"), Floors: session.Floors{Account: session.Days{3, 0, 0}},
	}
	return session.Event{
		Time: at, Event: session.EventLogin, Outcome: session.OutcomeGranted, User: user, Protocol: session.FTP, Method: method,
		Channel: &session.Channel{Kind: kind}, Facts: &facts,
	}
}

func report(until time.Time) Report {
	accounts := []Account{
		{Name: "new"}, {Name: "gone", Disabled: true}, {Name: "old", Groups: []string{"users"}}, {Name: "cnc"}, {Name: "moves"}, {Name: "back"},
		{Name: "done"}, {Name: "key", Keys: 1},
	}
	logins := []session.Event{
		login("old", 1, session.Plain, session.MethodPassword), login("old", 4, session.Plain, session.MethodPassword),
		login("cnc", 2, session.Plain, session.MethodPassword),
		login("moves", 2, session.Plain, session.MethodPassword), login("moves", 4, session.TLS, session.MethodPassword),
		login("back", 1, session.SSH, session.MethodPassword), login("back", 4, session.Plain, session.MethodPassword),
		login("done", 2, session.TLS, session.MethodPassword), login("key", 2, session.SSH, session.MethodPublicKey),
		login("removed", 2, session.Plain, session.MethodPassword),
	}
	return Stand(accounts, slices.Values(logins), strict{}, time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC), until)
}

func TestStand(t *testing.T) {
	t.Parallel()
	r := report(time.Date(2027, 5, 5, 0, 0, 0, 0, time.UTC))
	var got []string
	for _, s := range r.Rows {
		got = append(got, strings.Join([]string{s.User, string(s.State), s.Stage, s.Notice, s.Blocker, s.Then, s.Next}, "|"))
	}
	want := []string{
		"old|plain only|warned|until June||refused|By 2027-06-01: Instead of winscp",
		`cnc|plain only|allowed||exempt "encrypted" "cnc"||Instead of winscp`,
		"back|both|warned|until June||refused|It can encrypt, and this client did not: By 2027-06-01: Instead of winscp",
		"moves|both|warned|until June||refused|It can encrypt, and did so last: move it to a group that must.",
		"done|encrypted only|||||It is there. A key instead of the password is safer: gateway user key add done FILE",
		"key|key only|||||Nothing: it is there.",
		"gone|never seen|||||Nothing: the account is disabled.",
		"new|never seen|||||Find out whether anybody needs it; else: gateway user disable new",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := r.Rows[0]; s.PlainLogins != 2 || s.LastPlain.Day() != 4 || s.Network != "192.0.2.0/24" || s.Client != "winscp" || s.Floor != "encryption" {
		t.Errorf("old: %+v", s)
	}
	if days := []Day{{"2027-05-01", 1, 1}, {"2027-05-02", 3, 2}, {"2027-05-03", 0, 0}, {"2027-05-04", 2, 1}}; !slices.Equal(r.Days, days) {
		t.Errorf("days %v, want %v", r.Days, days)
	}
	if r.States[Plain] != 2 || r.States[Unseen] != 2 || r.States[KeyOnly] != 1 {
		t.Errorf("states %v", r.States)
	}
	late := report(time.Date(2027, 6, 5, 0, 0, 0, 0, time.UTC))
	if s := late.Rows[0]; s.Stage != "refused" || !strings.HasPrefix(s.Next, "It is refused in clear now") {
		t.Errorf("in June: %+v", s)
	}
	if empty := Stand(nil, slices.Values([]session.Event(nil)), strict{}, time.Time{}, time.Now()); len(empty.Days) != 0 || len(empty.Rows) != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}

// Who a brownout refused, and who has not come back encrypted since, is known.
func TestCasualties(t *testing.T) {
	t.Parallel()
	refused := func(user string, day int) session.Event {
		e := login(user, day, session.Plain, "")
		e.Outcome = session.OutcomeRefused
		return e
	}
	logins := []session.Event{refused("cut", 1), refused("came", 1), refused("cut", 2), login("came", 3, session.TLS, session.MethodPassword), refused("strict", 3)}
	r := Stand([]Account{{Name: "came"}, {Name: "cut"}, {Name: "strict"}}, slices.Values(logins), strict{}, time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 5, 9, 0, 0, 0, 0, time.UTC))
	got := make(map[string]Standing)
	for _, s := range r.Rows {
		got[s.User] = s
	}
	if s := got["cut"]; s.Paused != 2 || s.LastPaused.Day() != 2 || s.Return != returnNot || !strings.HasPrefix(s.Next, "A brownout refused it on 2027-05-02, and it has not come back: ask its owner. Instead of winscp") {
		t.Errorf("cut: %+v", s)
	}
	if s := got["came"]; s.Paused != 1 || s.Return != returnEncrypted {
		t.Errorf("came: %+v", s)
	}
	if s := got["strict"]; s.Paused != 0 {
		t.Errorf("refused for good: %+v", s)
	}
	if len(r.Days) != 1 {
		t.Errorf("refused logins count as logins: %v", r.Days)
	}
}
