package host

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// census counts the workers of a pool that holds no real instances.
type census struct{ made, ended atomic.Int64 }

func (c *census) pool(size int) *pool {
	return newPool(size, func() (*worker, error) {
		c.made.Add(1)
		return new(worker), nil
	}, func(*worker) { c.ended.Add(1) })
}

func TestPoolMakesNoMoreThanItMay(t *testing.T) {
	c := new(census)
	p := c.pool(2)
	a, err := p.get(t.Context())
	require.NoError(t, err)
	b, err := p.get(t.Context())
	require.NoError(t, err)
	require.NotSame(t, a, b)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.get(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	p.put(a)
	again, err := p.get(t.Context())
	require.NoError(t, err)
	assert.Same(t, a, again)
	assert.EqualValues(t, 2, c.made.Load())
	assert.Equal(t, 2, p.live())
}

func TestPoolServesWaitersInTurn(t *testing.T) {
	p := new(census).pool(1)
	w, err := p.get(t.Context())
	require.NoError(t, err)
	var served []int
	var mu sync.Mutex
	var waiting sync.WaitGroup
	for i := range 5 {
		waiting.Go(func() {
			w, err := p.get(t.Context())
			if assert.NoError(t, err) {
				mu.Lock()
				served = append(served, i)
				mu.Unlock()
				p.put(w)
			}
		})
		require.Eventually(t, func() bool { return p.attention.Load() == int64(i+1) }, time.Second, time.Millisecond)
	}
	p.put(w)
	waiting.Wait()
	assert.Equal(t, []int{0, 1, 2, 3, 4}, served)
	assert.Zero(t, p.attention.Load())
}

func TestPoolReplacesWhatIsThrownAway(t *testing.T) {
	c := new(census)
	p := c.pool(1)
	w, err := p.get(t.Context())
	require.NoError(t, err)
	got := make(chan error)
	go func() {
		_, err := p.get(context.Background())
		got <- err
	}()
	require.Eventually(t, func() bool { return p.attention.Load() == 1 }, time.Second, time.Millisecond)
	p.discard(w)
	require.NoError(t, <-got)
	assert.EqualValues(t, 2, c.made.Load())
	assert.EqualValues(t, 1, c.ended.Load())
}

func TestPoolThatCannotMake(t *testing.T) {
	fail := errors.New("no memory")
	p := newPool(1, func() (*worker, error) { return nil, fail }, func(*worker) {})
	for range 3 {
		_, err := p.get(t.Context())
		require.ErrorIs(t, err, fail)
	}
	assert.Zero(t, p.live())
}

func TestPoolClose(t *testing.T) {
	c := new(census)
	p := c.pool(2)
	a, err := p.get(t.Context())
	require.NoError(t, err)
	b, err := p.get(t.Context())
	require.NoError(t, err)
	p.put(b)
	hold, err := p.get(t.Context())
	require.NoError(t, err)
	waiter := make(chan error)
	go func() {
		_, err := p.get(context.Background())
		waiter <- err
	}()
	require.Eventually(t, func() bool { return p.attention.Load() == 1 }, time.Second, time.Millisecond)
	p.close()
	require.ErrorIs(t, <-waiter, errRetired)
	_, err = p.get(t.Context())
	require.ErrorIs(t, err, errRetired)
	select {
	case <-p.drained:
		t.Fatal("instances are out")
	default:
	}
	p.put(a)
	p.put(hold)
	<-p.drained
	assert.EqualValues(t, 2, c.ended.Load())
}

func TestPoolCloseWhileIdle(t *testing.T) {
	c := new(census)
	p := c.pool(3)
	p.adopt(new(worker))
	p.close()
	<-p.drained
	assert.EqualValues(t, 1, c.ended.Load())
	empty := c.pool(1)
	empty.close()
	<-empty.drained
}

// However gets, puts, discards, impatient waiters and the end fall together, no two
// hold the same instance, none is lost and everybody is served.
func TestPoolHammer(t *testing.T) {
	c := new(census)
	p := c.pool(3)
	var out atomic.Int64
	held := map[*worker]*atomic.Bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	var served, impatient, retired atomic.Int64
	for g := range 16 {
		all.Go(func() {
			for n := range 3000 {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if (n+g)%7 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(n%50)*time.Microsecond)
				}
				w, err := p.get(ctx)
				cancel()
				if err != nil {
					if errors.Is(err, errRetired) {
						retired.Add(1)
						return
					}
					impatient.Add(1)
					continue
				}
				if out.Add(1) > 3 {
					t.Error("more instances than slots")
				}
				mu.Lock()
				if held[w] == nil {
					held[w] = new(atomic.Bool)
				}
				mine := held[w]
				mu.Unlock()
				if !mine.CompareAndSwap(false, true) {
					t.Error("one instance twice")
				}
				mine.Store(false)
				out.Add(-1)
				served.Add(1)
				if n%97 == 0 {
					p.discard(w)
				} else {
					p.put(w)
				}
				if served.Load() == 30000 {
					p.close()
				}
			}
		})
	}
	all.Wait()
	if p.attention.Load() < closedFlag {
		p.close()
	}
	select {
	case <-p.drained:
	case <-time.After(5 * time.Second):
		t.Fatal("an instance is lost")
	}
	assert.Equal(t, c.made.Load(), c.ended.Load())
	assert.NotZero(t, served.Load())
}
