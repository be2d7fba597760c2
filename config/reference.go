package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Reference is the description of every setting, as Markdown: docs/config.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("# gateway.hcl\n\nEvery setting, as `gateway config reference` prints it. The format is HCL; an unknown\n" +
		"setting stops the start. Relative paths begin at the folder of the file. A duration is\n" +
		"\"30s\", \"5m\" or \"12h\"; a size \"64KiB\", \"35MiB\" or \"2GiB\". Instead of a text,\n" +
		"`file(\"path\")` takes the content of a file and `env(\"NAME\")` that of a variable.\n")
	c := &Config{}
	writeSection(&b, "", c.section())
	return b.String()
}

func writeSection(b *strings.Builder, path string, s section) {
	if len(s.settings) > 0 {
		b.WriteString("\n| setting | value | default | meaning |\n| --- | --- | --- | --- |\n")
		for _, st := range s.settings {
			def := st.def
			switch {
			case st.required:
				def = "(required)"
			case def == "":
				def = "(none)"
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", st.name, strings.ReplaceAll(st.kind, "|", "\\|"), def, st.doc)
		}
	}
	for _, bl := range s.blocks {
		title := strings.TrimSpace(path + " " + bl.name)
		label := ""
		if bl.label != "" {
			label = fmt.Sprintf(" \"%s\"", strings.ToUpper(bl.label))
		}
		fmt.Fprintf(b, "\n## %s%s\n\n%s\n", title, label, bl.doc)
		inner, err := bl.open(&decoder{}, hcl.Range{}, "name")
		if err == nil {
			writeSection(b, title, inner)
		}
	}
}
