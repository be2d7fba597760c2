package store

import (
	"context"
	"database/sql/driver"
	"errors"
)

// uninterrupted makes connections on which a statement that has begun runs to
// its end, whatever becomes of the context it was called with.
//
// The writer's transaction is shared. SQLite answers an interrupted INSERT,
// UPDATE or DELETE by rolling back the whole transaction
// (sqlite.org/c3ref/interrupt.html), so one peer that hangs up would undo the
// writes of all others.
type uninterrupted struct{ driver.Connector }

// sqliteConn is what the driver's connections implement and database/sql uses.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (u uninterrupted) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := u.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := c.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("driver without contexts"), c.Close())
	}
	return uninterruptedConn{full}, nil
}

type uninterruptedConn struct{ sqliteConn }

func (c uninterruptedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.sqliteConn.BeginTx(context.WithoutCancel(ctx), opts)
}

func (c uninterruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.sqliteConn.ExecContext(context.WithoutCancel(ctx), query, args)
}

func (c uninterruptedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.sqliteConn.QueryContext(context.WithoutCancel(ctx), query, args)
}

func (c uninterruptedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.sqliteConn.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, err
	}
	full, ok := s.(sqliteStmt)
	if !ok {
		return nil, errors.Join(errors.New("driver without contexts"), s.Close())
	}
	return uninterruptedStmt{full}, nil
}

type uninterruptedStmt struct{ sqliteStmt }

func (s uninterruptedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.sqliteStmt.ExecContext(context.WithoutCancel(ctx), args)
}

func (s uninterruptedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.sqliteStmt.QueryContext(context.WithoutCancel(ctx), args)
}
