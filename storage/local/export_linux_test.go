package local

// OpenStepwise is Open where the kernel has no openat2.
func OpenStepwise(dir string, cfg Config) (*FS, error) {
	f, err := Open(dir, cfg)
	if err == nil {
		f.beneath = false
	}
	return f, err
}

// Beneath reports whether openat2 is used.
func (f *FS) Beneath() bool { return f.beneath }
