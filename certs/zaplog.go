package certs

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// bridge gives certmagic's log, which speaks zap, to slog. What is below info is
// dropped: it holds the ACME dialogue with its challenge answers.
type bridge struct {
	log *slog.Logger
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// Enabled implements zapcore.Core.
func (b bridge) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && b.log.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{slog.New(b.log.Handler().WithAttrs(attrs(fields)))}
}

// Check implements zapcore.Core.
func (b bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

// Write implements zapcore.Core.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	list := attrs(fields)
	if e.LoggerName != "" {
		list = append(list, slog.String("part", e.LoggerName))
	}
	b.log.LogAttrs(context.Background(), level(e.Level), "acme: "+e.Message, list...)
	return nil
}

// Sync implements zapcore.Core.
func (b bridge) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	list := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		e := zapcore.NewMapObjectEncoder()
		f.AddTo(e)
		for key, value := range e.Fields {
			list = append(list, slog.Any(key, value))
		}
	}
	return list
}
