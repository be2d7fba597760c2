package mount

import (
	"context"
	"errors"
	"path"
	"strings"

	"gateway/session"
	"gateway/storage"
)

// toMake returns the tree in which a name is to be made, whose folders above a mount point are
// made first if the base has none.
func (f *FS) toMake(ctx context.Context, op, name string) (storage.FS, string, error) {
	tree, rest, err := f.tree(ctx, name)
	if err != nil || tree != f.base {
		return tree, rest, err
	}
	above := path.Dir(name)
	if above == "." || !f.fixed(above) {
		return tree, rest, nil
	}
	for i, part := 0, ""; i < len(above); i += len(part) + 1 {
		part, _, _ = strings.Cut(above[i:], "/")
		if err := f.base.Mkdir(ctx, above[:i+len(part)]); err != nil && !errors.Is(err, session.ErrExist) {
			return nil, "", fault(op, name, err)
		}
	}
	return tree, rest, nil
}

// Create implements storage.FS. What is mounted is in no Ledger.
func (f *FS) Create(ctx context.Context, name string, opts storage.CreateOptions) (storage.Upload, error) {
	if f.fixed(name) {
		return nil, fault("create", name, session.ErrIsDirectory)
	}
	tree, rest, err := f.toMake(ctx, "create", name)
	if err != nil {
		return nil, err
	}
	if tree != f.base {
		opts.Ledger = nil
	}
	return tree.Create(ctx, rest, opts)
}

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string) error {
	if f.fixed(name) {
		return fault("mkdir", name, session.ErrExist)
	}
	tree, rest, err := f.toMake(ctx, "mkdir", name)
	if err != nil {
		return err
	}
	return tree.Mkdir(ctx, rest)
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	if f.fixed(name) {
		return fault("remove", name, session.ErrIsDirectory)
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return err
	}
	return tree.Remove(ctx, rest)
}

// RemoveDir implements storage.FS.
func (f *FS) RemoveDir(ctx context.Context, name string) error {
	switch {
	case f.isPoint(name):
		return fault("rmdir", name, session.ErrDenied)
	case f.fixed(name):
		return fault("rmdir", name, session.ErrNotEmpty)
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return err
	}
	return tree.RemoveDir(ctx, rest)
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string, overwrite bool) error {
	switch {
	case f.fixed(from):
		return fault("rename", from, session.ErrDenied)
	case f.fixed(to) && !overwrite:
		return fault("rename", to, session.ErrExist)
	case f.fixed(to):
		return fault("rename", to, session.ErrDenied)
	}
	if a, _ := f.at(from); !f.same(a, to) {
		return fault("rename", from, errApart)
	}
	_, source, err := f.tree(ctx, from)
	if err != nil {
		return err
	}
	tree, target, err := f.toMake(ctx, "rename", to)
	if err != nil {
		return err
	}
	return tree.Rename(ctx, source, target, overwrite)
}

// same reports whether a name is in the tree of that mount.
func (f *FS) same(m *mounted, name string) bool {
	other, _ := f.at(name)
	return m == other
}

// SetAttr implements storage.FS. Of a mount point nothing can be changed.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, attr, storage.FS.SetAttr)
}

// LsetAttr implements storage.FS.
func (f *FS) LsetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.setAttr(ctx, name, attr, storage.FS.LsetAttr)
}

func (f *FS) setAttr(ctx context.Context, name string, attr storage.Attr, set func(storage.FS, context.Context, string, storage.Attr) error) error {
	switch {
	case f.fixed(name) && attr.Size != nil:
		return fault("setattr", name, session.ErrIsDirectory)
	case f.isPoint(name):
		return fault("setattr", name, session.ErrUnsupported)
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return err
	}
	return set(tree, ctx, rest, attr)
}

// Symlink implements storage.FS. A link leads to its own tree.
func (f *FS) Symlink(ctx context.Context, target, name string) error {
	if f.fixed(name) {
		return fault("symlink", name, session.ErrExist)
	}
	m, _ := f.at(name)
	to := path.Join("/", path.Dir(name), target)
	if strings.HasPrefix(target, "/") {
		to = path.Clean(target)
	}
	if to = strings.TrimPrefix(to, "/"); to == "" {
		to = "."
	}
	if !f.same(m, to) {
		return fault("symlink", name, errApart)
	}
	if m != nil && strings.HasPrefix(target, "/") {
		target = path.Join("/", strings.TrimPrefix(to, m.Point))
	}
	tree, rest, err := f.toMake(ctx, "symlink", name)
	if err != nil {
		return err
	}
	return tree.Symlink(ctx, target, rest)
}

// Link implements storage.FS.
func (f *FS) Link(ctx context.Context, old, name string) error {
	switch {
	case f.fixed(old):
		return fault("link", old, session.ErrIsDirectory)
	case f.fixed(name):
		return fault("link", name, session.ErrExist)
	}
	if m, _ := f.at(old); !f.same(m, name) {
		return fault("link", old, errApart)
	}
	_, source, err := f.tree(ctx, old)
	if err != nil {
		return err
	}
	tree, rest, err := f.toMake(ctx, "link", name)
	if err != nil {
		return err
	}
	return tree.Link(ctx, source, rest)
}
