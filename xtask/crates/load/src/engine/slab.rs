//! Places for streams, whose keys are never given twice: an event about a stream that has ended
//! does not reach the one that took its place.

/// Names a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    place: u32,
    /// How many streams had the place before.
    turn: u32,
}

impl Key {
    /// The key as a number for the kernel to keep.
    pub(super) const fn pack(self) -> u64 {
        (self.turn as u64) << 32 | self.place as u64
    }

    /// The key that was packed.
    #[expect(clippy::cast_possible_truncation, reason = "the halves were 32 bits before")]
    pub(super) const fn unpack(packed: u64) -> Self {
        Self { place: packed as u32, turn: (packed >> 32) as u32 }
    }
}

/// The streams of a thread.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            // There are fewer places than file descriptors, which are 32 bits.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let (turn, held) = &mut self.places[place as usize];
        *held = Some(value);
        Key { place, turn: *turn }
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        let (turn, held) = self.places.get_mut(key.place as usize)?;
        held.as_mut().filter(|_| *turn == key.turn)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let (turn, held) = self.places.get_mut(key.place as usize)?;
        let value = if *turn == key.turn { held.take() } else { None }?;
        *turn = turn.wrapping_add(1);
        self.free.push(key.place);
        Some(value)
    }

    /// The keys of all.
    pub(super) fn keys(&self) -> Vec<Key> {
        let places = (0u32..).zip(&self.places);
        let held = places.filter(|(_, (_, held))| held.is_some());
        held.map(|(place, (turn, _))| Key { place, turn: *turn }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_its_old_key_is_not() {
        let mut slab = Slab::new();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_eq!((first.place, slab.len()), (second.place, 1));
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(Key::unpack(second.pack())), Some(&mut "b"));
        assert_eq!(slab.keys(), [second]);
    }
}
