package relay

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkDeliver hands messages of one recipient to a sink in this process, by
// four callers at once, as the queue does.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			target := endpoint(discard(b), "")
			c := &Client{Hostname: "gw.example.com"}
			content := "Subject: hi\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", size/72)
			b.SetBytes(int64(len(content)))
			b.SetParallelism(2) // times GOMAXPROCS
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m := Message{From: "a@x.test", To: to("b@y.test"), Size: int64(len(content)), Body: strings.NewReader(content)}
					if r := c.Deliver(b.Context(), target, m); r.Statuses[0].Outcome != Delivered {
						b.Error(r.Statuses[0])
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			_ = c.Close()
		})
	}
}
