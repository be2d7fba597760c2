package ftp

import "io"

// sendASCII sends src with CRLF line ends (RFC 959, section 3.1.1.1). A line
// that has CRLF already keeps it; nothing is added at the end.
func (d *dataConn) sendASCII(src io.ReaderAt) error {
	// Every byte may become two: read into the last third, write from the first two.
	buf := d.buffer()
	third := len(buf) / 3
	in := buf[2*third:]
	var offset int64
	var before byte
	for {
		may, err := d.may(int64(third))
		if err != nil {
			return err
		}
		n, err := src.ReadAt(in[:may], offset)
		out := toNetwork(buf[:0], in[:n], before)
		if n > 0 {
			before = in[n-1]
			if _, err := d.Write(out); err != nil {
				return err
			}
			offset += int64(n)
			d.count(len(out))
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fault(err)
		}
	}
}

// toNetwork appends text to out with a CR before each LF that has none. before
// is the byte in front of text.
func toNetwork(out, text []byte, before byte) []byte {
	for _, b := range text {
		if b == '\n' && before != '\r' {
			out = append(out, '\r')
		}
		out = append(out, b)
		before = b
	}
	return out
}

// receiveASCII writes what the peer sends with CRLF turned into LF. A CR alone
// is kept.
func (d *dataConn) receiveASCII(dst io.WriterAt, offset int64) error {
	buf := d.buffer()
	held := false // a CR at the end of the last piece
	for {
		may, err := d.may(int64(len(buf) - 1))
		if err != nil && held {
			return err // the CR has no room either
		}
		if err != nil {
			return d.full(err)
		}
		n, err := d.fill(buf[1 : 1+may]) // the first place is for the CR held back
		text := buf[1 : n+1]
		if held {
			buf[0] = '\r'
			text = buf[:n+1]
		}
		ended := err != nil
		text, held = toLocal(text, ended)
		if len(text) > 0 {
			if _, err := dst.WriteAt(text, offset); err != nil {
				return fault(err)
			}
			offset += int64(len(text))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// toLocal turns CRLF into LF in place. Unless this is the end of the text, a CR
// in the last place is held back, since an LF may follow.
func toLocal(text []byte, ended bool) (local []byte, held bool) {
	out := text[:0]
	for i, b := range text {
		switch {
		case b == '\r' && i+1 < len(text) && text[i+1] == '\n':
		case b == '\r' && i+1 == len(text) && !ended:
			return out, true
		default:
			out = append(out, b)
		}
	}
	return out, false
}
