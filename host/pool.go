package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// pool holds the instances of one edition, at most one for each slot. An idle
// instance lies in its own slot, from which one atomic exchange takes it; the lock
// is for making, waiting and closing alone. A channel in its place would cost more
// than a cached verification.
type pool struct {
	create func() (*worker, error)
	end    func(*worker)
	slots  []slot
	hints  sync.Pool // *int32: the slot that this processor used last

	// attention is the number of waiters, plus closedFlag once the pool is closed.
	// put looks at nothing else.
	attention atomic.Int64

	mu      sync.Mutex
	free    []int          // slots that have no instance
	queue   []chan *worker // waiters; nil is sent when a slot has become free
	drained chan struct{}  // closed once the pool is closed and has no instance
}

type slot struct {
	idle  atomic.Pointer[worker]
	index int32
	_     [128 - 16]byte // neighbours must not share a cache line
}

const closedFlag = 1 << 32

// errRetired means that the pool was closed: another edition is in force, or none.
var errRetired = errors.New("edition is retired")

func newPool(size int, create func() (*worker, error), end func(*worker)) *pool {
	p := &pool{create: create, end: end, slots: make([]slot, size), drained: make(chan struct{})}
	for i := range p.slots {
		p.slots[i].index = int32(i)
		p.free = append(p.free, size-1-i)
	}
	return p
}

// adopt takes in an instance that was made elsewhere, before anybody uses the pool.
func (p *pool) adopt(w *worker) {
	n := len(p.free)
	w.slot = p.free[n-1]
	p.free = p.free[:n-1]
	p.put(w)
}

// get takes an idle instance, makes one if there may be more, or waits for one
// until the context ends.
func (p *pool) get(ctx context.Context) (*worker, error) {
	if w := p.takeIdle(); w != nil {
		return w, nil
	}
	for {
		w, wait, err := p.makeOrQueue()
		if wait == nil {
			return w, err
		}
		select {
		case w := <-wait:
			if w != nil {
				return w, nil
			}
		case <-ctx.Done():
			p.leave(wait)
			return nil, context.Cause(ctx)
		}
	}
}

func (p *pool) takeIdle() *worker {
	start := int32(0)
	if hint, _ := p.hints.Get().(*int32); hint != nil {
		start = *hint
	}
	n := int32(len(p.slots))
	for i := range n {
		s := &p.slots[(start+i)%n]
		if s.idle.Load() == nil {
			continue
		}
		if w := s.idle.Swap(nil); w != nil {
			return w
		}
	}
	return nil
}

// makeOrQueue returns an instance or an error, or else where to wait for one.
func (p *pool) makeOrQueue() (*worker, chan *worker, error) {
	p.mu.Lock()
	if p.attention.Load() >= closedFlag {
		p.mu.Unlock()
		return nil, nil, errRetired
	}
	if n := len(p.free); n > 0 {
		index := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		w, err := p.create()
		if err != nil {
			p.freed(index)
			return nil, nil, err
		}
		w.slot = index
		return w, nil, nil
	}
	defer p.mu.Unlock()
	// put fills a slot and then looks for waiters; here it is the other way round,
	// so that one of the two sees the other.
	p.attention.Add(1)
	if w := p.takeIdle(); w != nil {
		p.attention.Add(-1)
		return w, nil, nil
	}
	wait := make(chan *worker, 1)
	p.queue = append(p.queue, wait)
	return nil, wait, nil
}

// leave gives up waiting. What arrived meanwhile goes to the next one.
func (p *pool) leave(wait chan *worker) {
	p.mu.Lock()
	i := slices.Index(p.queue, wait)
	if i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.attention.Add(-1)
	}
	p.mu.Unlock()
	if i >= 0 {
		return
	}
	if w := <-wait; w != nil {
		p.put(w)
	} else {
		p.mu.Lock()
		p.wake(nil) // the free slot is somebody else's chance
		p.mu.Unlock()
	}
}

// put gives an instance back.
func (p *pool) put(w *worker) {
	if p.attention.Load() != 0 { // first come, first served
		p.mu.Lock()
		done := p.attention.Load() < closedFlag && p.wake(w)
		p.mu.Unlock()
		if done {
			return
		}
	}
	s := &p.slots[w.slot]
	s.idle.Store(w)
	p.hints.Put(&s.index)
	if p.attention.Load() != 0 {
		p.attend(s)
	}
}

// attend hands a slot's instance to the longest waiter, or ends it if the pool is closed.
func (p *pool) attend(s *slot) {
	p.mu.Lock()
	w := s.idle.Swap(nil)
	if w == nil {
		p.mu.Unlock() // somebody else has it and will put it back
		return
	}
	if p.attention.Load() >= closedFlag {
		p.mu.Unlock()
		p.discard(w)
		return
	}
	if !p.wake(w) {
		s.idle.Store(w)
	}
	p.mu.Unlock()
}

// wake sends w to the longest waiter, if there is one. The lock is held.
func (p *pool) wake(w *worker) bool {
	if len(p.queue) == 0 {
		return false
	}
	p.queue[0] <- w
	p.queue = slices.Delete(p.queue, 0, 1)
	p.attention.Add(-1)
	return true
}

// discard ends an instance that is not to be used again.
func (p *pool) discard(w *worker) {
	p.end(w)
	p.freed(w.slot)
}

func (p *pool) freed(index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, index)
	if p.attention.Load() < closedFlag {
		p.wake(nil)
	} else if len(p.free) == len(p.slots) {
		close(p.drained)
	}
}

// live is the number of instances, those being made included.
func (p *pool) live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots) - len(p.free)
}

// close ends idle instances at once and the others when they are given back;
// drained tells when none is left. Waiters are told to look elsewhere.
func (p *pool) close() {
	p.mu.Lock()
	p.attention.Add(closedFlag)
	for p.wake(nil) {
	}
	if len(p.free) == len(p.slots) {
		close(p.drained)
	}
	p.mu.Unlock()
	for i := range p.slots {
		if w := p.slots[i].idle.Swap(nil); w != nil {
			p.discard(w)
		}
	}
}
