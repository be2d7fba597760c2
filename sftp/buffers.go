package sftp

import (
	"runtime"
	"sync"
)

const (
	// blockSize is the unit in which bytes go out: one answer to a READ of the longest
	// kind, or a flush of the connection.
	blockSize = 256 << 10
	// inputSize holds the longest packet and as much again, so that reads stay large
	// while a packet is still coming.
	inputSize = 512 << 10
	// smallSize is what a connection or subsystem with little to say makes do with.
	smallSize = 4 << 10
)

type (
	block      [blockSize]byte
	inputBlock [inputSize]byte
	nameBlock  [maxNames]byte
	smallBlock [smallSize]byte
)

// buffers are those of all connections of a server, and the turns of who computes
// digests. Buffers are taken while bytes
// move and given back when there are none: an idle connection holds none.
type buffers struct {
	blocks, inputs, lists, smalls sync.Pool
	turns                         chan struct{} // holds one for each digest that is computed now
}

func newBuffers() *buffers {
	return &buffers{
		blocks: sync.Pool{New: func() any { return new(block) }},
		inputs: sync.Pool{New: func() any { return new(inputBlock) }},
		lists:  sync.Pool{New: func() any { return new(nameBlock) }},
		smalls: sync.Pool{New: func() any { return new(smallBlock) }},
		turns:  make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

func (b *buffers) block() *block           { return b.blocks.Get().(*block) }
func (b *buffers) input() *inputBlock      { return b.inputs.Get().(*inputBlock) }
func (b *buffers) names() *nameBlock       { return b.lists.Get().(*nameBlock) }
func (b *buffers) small() *smallBlock      { return b.smalls.Get().(*smallBlock) }
func (b *buffers) giveBlock(x *block)      { b.blocks.Put(x) }
func (b *buffers) giveInput(x *inputBlock) { b.inputs.Put(x) }
func (b *buffers) giveNames(x *nameBlock)  { b.lists.Put(x) }
func (b *buffers) giveSmall(x *smallBlock) { b.smalls.Put(x) }
