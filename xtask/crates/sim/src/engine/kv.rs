//! The KV cache: room for tokens, and the prompts that are still in it.
//!
//! Room is reserved for a whole request when it is admitted, so that nothing is ever taken back
//! from a running one. Computed prompts stay as blocks until the room is needed, the least
//! recently used first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::rng::mix;
use crate::config::PrefixCache;

/// Tokens in a block of the prefix cache.
pub const BLOCK_TOKENS: u32 = 16;

/// Identifies a block by its own tokens and all before it.
pub type BlockHash = u64;

/// Hashes of the full blocks of a prompt, each over everything up to its end.
pub fn block_hashes(prompt: &[u32]) -> Vec<BlockHash> {
    let blocks = prompt.chunks_exact(BLOCK_TOKENS as usize);
    let chain = blocks.scan(0_u64, |before, block| {
        *before = block.iter().fold(*before, |hash, id| mix(hash.rotate_left(7) ^ u64::from(*id)));
        Some(*before)
    });
    chain.collect()
}

/// A block in the cache.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Running requests that use it.
    users: u32,
    /// Place in its prompt, from 0.
    depth: u32,
    /// When it was last used, by the cache's own count.
    used: u64,
}

/// The room and what is in it.
#[derive(Clone, Debug)]
pub struct KvCache {
    limit: u64,
    policy: PrefixCache,
    reserved: u64,
    blocks: HashMap<BlockHash, Block>,
    /// Blocks without users, the next to be evicted first: the oldest, and of one prompt the
    /// deepest, because a block without the ones before it can never be hit.
    idle: BTreeSet<(u64, Reverse<u32>, BlockHash)>,
    uses: u64,
}

/// What a running request holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Hashes of the prompt's full blocks.
    hashes: Vec<BlockHash>,
    /// How many of them, from the first, are held in the shared part.
    shared: usize,
    /// Tokens reserved for this request alone.
    own: u64,
    /// Prompt tokens that were in the cache at admission.
    pub cached_tokens: u32,
}

impl KvCache {
    /// Empty room for `limit` tokens.
    pub fn new(limit: u64, policy: PrefixCache) -> Self {
        let (blocks, idle) = (HashMap::new(), BTreeSet::new());
        Self { limit, policy, reserved: 0, blocks, idle, uses: 0 }
    }

    /// Room in tokens.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Tokens in use: reserved by running requests, and kept for later ones.
    pub fn used(&self) -> u64 {
        self.reserved + self.blocks.len() as u64 * u64::from(BLOCK_TOKENS)
    }

    /// Reserves room for a prompt and `output` tokens, or `None` if it does not fit now.
    pub fn admit(&mut self, prompt: &[u32], output: u32) -> Option<Lease> {
        let hashes = match self.policy {
            PrefixCache::On => block_hashes(prompt),
            PrefixCache::Off => Vec::new(),
        };
        let shared = self.hits(&hashes, prompt.len());
        let total = prompt.len() as u64 + u64::from(output);
        let own = total - shared as u64 * u64::from(BLOCK_TOKENS);
        self.take(&hashes[..shared]);
        if !self.make_room(own) {
            self.give(&hashes[..shared]);
            return None;
        }
        self.reserved += own;
        let cached_tokens = u32::try_from(shared).unwrap_or(u32::MAX).saturating_mul(BLOCK_TOKENS);
        Some(Lease { hashes, shared, own, cached_tokens })
    }

    /// The prompt has been computed: its blocks can be hit from now on.
    pub fn publish(&mut self, lease: &mut Lease) {
        let news = lease.hashes.split_off(lease.shared);
        self.uses += 1;
        for (depth, hash) in (lease.shared..).zip(news) {
            let depth = u32::try_from(depth).unwrap_or(u32::MAX);
            self.blocks.entry(hash).or_insert(Block { users: 0, depth, used: self.uses });
            self.take(&[hash]);
            self.reserved -= u64::from(BLOCK_TOKENS);
            lease.own -= u64::from(BLOCK_TOKENS);
            lease.hashes.push(hash);
        }
        lease.shared = lease.hashes.len();
    }

    /// Gives back what a request held; its prompt's blocks stay until the room is needed.
    pub fn release(&mut self, lease: &Lease) {
        self.reserved -= lease.own;
        self.give(&lease.hashes[..lease.shared]);
    }

    /// Drops every block that no request uses.
    pub fn flush(&mut self) {
        for (_, _, hash) in std::mem::take(&mut self.idle) {
            self.blocks.remove(&hash);
        }
    }

    /// Leading blocks that are in the cache. The last token of a prompt is always computed: it
    /// gives the first token of the answer.
    fn hits(&self, hashes: &[BlockHash], prompt_tokens: usize) -> usize {
        let most = prompt_tokens.saturating_sub(1) / BLOCK_TOKENS as usize;
        hashes.iter().take(most).take_while(|hash| self.blocks.contains_key(hash)).count()
    }

    fn take(&mut self, hashes: &[BlockHash]) {
        for hash in hashes {
            if let Some(block) = self.blocks.get_mut(hash) {
                self.idle.remove(&(block.used, Reverse(block.depth), *hash));
                block.users += 1;
            }
        }
    }

    fn give(&mut self, hashes: &[BlockHash]) {
        self.uses += 1;
        for hash in hashes {
            if let Some(block) = self.blocks.get_mut(hash) {
                block.users -= 1;
                block.used = self.uses;
                if block.users == 0 {
                    self.idle.insert((block.used, Reverse(block.depth), *hash));
                }
            }
        }
    }

    /// Evicts idle blocks until `tokens` fit; evicts nothing if they never would.
    fn make_room(&mut self, tokens: u64) -> bool {
        let idle = self.idle.len() as u64 * u64::from(BLOCK_TOKENS);
        if self.limit < self.used() - idle + tokens {
            return false;
        }
        while self.limit < self.used() + tokens {
            let Some((_, _, hash)) = self.idle.pop_first() else { return false };
            self.blocks.remove(&hash);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(first: u32, tokens: u32) -> Vec<u32> {
        (0..tokens).map(|i| first * 10_000 + i).collect()
    }

    fn pass(kv: &mut KvCache, prompt: &[u32]) -> u32 {
        let mut lease = kv.admit(prompt, 4).unwrap();
        kv.publish(&mut lease);
        kv.release(&lease);
        lease.cached_tokens
    }

    #[test]
    fn a_repeated_prompt_hits_all_but_its_last_token() {
        let mut kv = KvCache::new(1000, PrefixCache::On);
        assert_eq!(pass(&mut kv, &prompt(1, 64)), 0);
        assert_eq!(pass(&mut kv, &prompt(1, 64)), 48);
        assert_eq!(pass(&mut kv, &prompt(1, 70)), 64);
        kv.flush();
        assert_eq!(kv.used(), 0);
        assert_eq!(pass(&mut kv, &prompt(1, 64)), 0);
    }

    #[test]
    fn a_prompt_that_differs_early_shares_nothing() {
        let mut kv = KvCache::new(1000, PrefixCache::On);
        let mut other = prompt(1, 64);
        other[0] = 7;
        pass(&mut kv, &prompt(1, 64));
        assert_eq!(pass(&mut kv, &other), 0);
    }

    #[test]
    fn without_a_prefix_cache_nothing_is_kept() {
        let mut kv = KvCache::new(1000, PrefixCache::Off);
        pass(&mut kv, &prompt(1, 64));
        assert_eq!(kv.used(), 0);
        assert_eq!(pass(&mut kv, &prompt(1, 64)), 0);
    }

    #[test]
    fn the_least_recently_used_prompt_is_evicted_first() {
        let mut kv = KvCache::new(160, PrefixCache::On);
        pass(&mut kv, &prompt(1, 48));
        pass(&mut kv, &prompt(2, 48));
        pass(&mut kv, &prompt(1, 48));
        pass(&mut kv, &prompt(3, 96));
        assert_eq!(pass(&mut kv, &prompt(1, 48)), 32);
        assert_eq!(pass(&mut kv, &prompt(2, 48)), 0);
    }

    #[test]
    fn two_requests_with_one_prompt_hold_it_once() {
        let mut kv = KvCache::new(1000, PrefixCache::On);
        let (mut a, mut b) =
            (kv.admit(&prompt(1, 64), 4).unwrap(), kv.admit(&prompt(1, 64), 4).unwrap());
        assert_eq!(kv.used(), 136);
        kv.publish(&mut a);
        kv.publish(&mut b);
        assert_eq!(kv.used(), 64 + 8);
        kv.flush();
        assert_eq!(kv.used(), 64 + 8, "blocks in use are not dropped");
        kv.release(&a);
        kv.release(&b);
        assert_eq!(kv.used(), 64);
    }
}
