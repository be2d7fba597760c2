package sheet

import (
	"strings"
	"testing"
)

// hostile is a report about strangers who call themselves what would harm its reader.
func hostile() *Sheet {
	return &Sheet{
		Title: "About <b>", Time: "From 2027-05-01 on", Above: []string{"Since 2027-05-01: 2 accounts"}, Below: []string{"note: the record has gaps"},
		Columns: []Column{{Name: "User"}, {Name: "Logins", Kind: Number}, {Name: "Client", Wide: true}},
		Rows: [][]string{
			{"old\x1b[2J\u0085", "2", `=cmd|'/c calc'!A1`},
			{"<script>alert(1)</script>", "", ""},
		},
		Figures: []Figure{{"plain only", 2}},
		Days:    []Day{{"2027-05-01", 1, 1}, {"2027-05-02", 3, 2}, {"2027-05-03", 0, 0}},
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostile().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := "Since 2027-05-01: 2 accounts\n\nUSER                       LOGINS\nold?[2J?                   2\n<script>alert(1)</script>  -\n\nnote: the record has gaps\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := (&Sheet{None: "There are no accounts."}).WriteText(&b); err != nil || b.String() != "There are no accounts.\n" {
		t.Errorf("of nothing: %q, %v", b.String(), err)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostile().WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	want := "USER,LOGINS,CLIENT\nold\x1b[2J\u0085,2,'=cmd|'/c calc'!A1\n<script>alert(1)</script>,,\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostile().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "<b>:", "http://", "https://", "=cmd"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "<b>2</b>plain only", "2027-05-02: 3 in clear, 2 encrypted", `height="108"`, `<td class="number">2</td>`, `<td class="number">–</td>`, "</html>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	b.Reset()
	if err := (&Sheet{None: "There are no accounts."}).WriteHTML(&b); err != nil || !strings.Contains(b.String(), "There are no accounts.") {
		t.Errorf("of nothing: %v", err)
	}
}
