package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"gateway/session"
)

// A call is one method of the service: JSON in, JSON out.
type call func(ctx context.Context, s *Service, in json.RawMessage) (any, error)

// method makes a call of a function with typed input and output. Unknown input
// fields are refused, so that a newer command is not half understood.
func method[In, Out any](fn func(*Service, context.Context, In) (Out, error)) call {
	return func(ctx context.Context, s *Service, raw json.RawMessage) (any, error) {
		var in In
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			return nil, Usage("the request is not understood: %w", err)
		}
		return fn(s, ctx, in)
	}
}

// maxRequest bounds a request on the control socket, in bytes. An import of a hundred
// thousand accounts is one.
const maxRequest = 128 << 20

// fault is how an error travels.
type fault struct {
	Kind string `json:"kind,omitempty"`
	Text string `json:"error"`
}

// The kinds of error that keep their meaning across the socket.
func faultKinds() map[string]error {
	return map[string]error{
		"usage": ErrUsage, "not-found": session.ErrNotExist, "exists": session.ErrExist,
		"unavailable": session.ErrUnavailable, "not-running": ErrNotRunning,
	}
}

func faultOf(err error) fault {
	for kind, target := range faultKinds() {
		if errors.Is(err, target) {
			return fault{Kind: kind, Text: err.Error()}
		}
	}
	return fault{Text: err.Error()}
}

// remoteError is an error that came over the socket: its text, and its kind.
type remoteError struct{ fault }

func (e *remoteError) Error() string { return e.Text }
func (e *remoteError) Unwrap() error { return faultKinds()[e.Kind] }

// Client calls the service of one installation: the running gateway's through
// its control socket, or one opened on the state itself.
type Client struct {
	// Service is set when no gateway runs.
	Service *Service
	http    *http.Client
	close   func() error
}

// Dial returns a client of the gateway that listens on socket. The error wraps
// fs.ErrNotExist or unix.ECONNREFUSED when none runs.
func Dial(ctx context.Context, socket string) (*Client, error) {
	var dialer net.Dialer
	probe, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	_ = probe.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", socket)
	}}
	return &Client{http: &http.Client{Transport: transport}, close: func() error { transport.CloseIdleConnections(); return nil }}, nil
}

// NotRunning reports whether a Dial failed because no gateway runs.
func NotRunning(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// Local returns a client of s, which Close closes by way of closer.
func Local(s *Service, closer func() error) *Client { return &Client{Service: s, close: closer} }

// Running reports whether the client speaks to a running gateway.
func (c *Client) Running() bool { return c.Service == nil }

// Close gives back what the client holds.
func (c *Client) Close() error { return c.close() }

// Call calls the method name. A usage error wraps ErrUsage; the kinds of package
// session keep their meaning.
func Call[Out any](ctx context.Context, c *Client, name string, in any) (Out, error) {
	var out Out
	request, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("encode the request: %w", err)
	}
	answer, err := c.send(ctx, name, request)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("the answer of %s is not understood (is the running gateway another version?): %w", name, err)
	}
	return out, nil
}

func (c *Client) send(ctx context.Context, name string, request []byte) ([]byte, error) {
	if c.Service != nil {
		return c.Service.dispatch(withActor(ctx, currentUser()), name, request)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/v1/"+name, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the running gateway: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the gateway's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var f fault
		if json.Unmarshal(answer, &f) != nil || f.Text == "" {
			return nil, fmt.Errorf("the running gateway answered %s", response.Status)
		}
		return nil, &remoteError{f}
	}
	return answer, nil
}

func (s *Service) dispatch(ctx context.Context, name string, request []byte) ([]byte, error) {
	fn, found := methods()[name]
	if !found {
		return nil, Usage("this gateway has no method %q; is it an older version?", name)
	}
	out, err := fn(ctx, s, request)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// ServeHTTP answers on the control socket.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err == nil {
		var answer []byte
		answer, err = s.dispatch(r.Context(), r.PathValue("method"), request)
		if err == nil {
			_, _ = w.Write(answer)
			return
		}
	}
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(faultOf(err))
}

const (
	controlReadTimeout = 30 * time.Second
	controlIdleTimeout = time.Minute
)

// Serve answers on the control socket until ctx is done. The socket file is the
// access control: only who may open it is answered, and is recorded by name.
func (s *Service) Serve(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/{method}", s)
	server := &http.Server{
		Handler: mux, ReadTimeout: controlReadTimeout, IdleTimeout: controlIdleTimeout,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return withActor(ctx, peerUser(c)) },
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

type actorKey struct{}

func withActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

// actor is who asked, for the record.
func actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}

// peerUser is the system user at the other end of the socket.
func peerUser(c net.Conn) string {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || credErr != nil {
		return ""
	}
	return userName(int(cred.Uid))
}

func currentUser() string { return userName(unix.Getuid()) }

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
