//! Lists that mostly have one element, which then needs no memory of its own.

use std::ops::{Deref, DerefMut};
use std::slice;

/// A list that has its element within itself where it is the only one. (A `SmallVec` could not stand in its place: what
/// borrows would have to live as long as the list's type says.)
#[derive(Clone, Debug)]
pub enum Few<T> {
    /// The only element.
    One([T; 1]),
    /// Any number, one among them.
    Any(Vec<T>),
}

impl<T> Few<T> {
    /// Adds an element at the end.
    pub fn push(&mut self, element: T) {
        *self = match std::mem::take(self) {
            Few::Any(all) if all.is_empty() => Few::One([element]),
            Few::Any(mut all) => {
                all.push(element);
                Few::Any(all)
            }
            Few::One([first]) => Few::Any(vec![first, element]),
        };
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few::Any(Vec::new())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::One(one) => one,
            Few::Any(all) => all,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::One(one) => one,
            Few::Any(all) => all,
        }
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        let Some(first) = elements.next() else { return Few::default() };
        let Some(second) = elements.next() else { return Few::One([first]) };
        Few::Any([first, second].into_iter().chain(elements).collect())
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, all) = match self {
            Few::One([one]) => (Some(one), Vec::new()),
            Few::Any(all) => (None, all),
        };
        one.into_iter().chain(all)
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Few<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::Few;

    #[test]
    fn it_is_the_list_of_what_was_put_in() {
        for count in 0..5 {
            let mut pushed = Few::default();
            (0..count).for_each(|number| pushed.push(number));
            let collected: Few<usize> = (0..count).collect();
            assert_eq!(pushed.to_vec(), (0..count).collect::<Vec<_>>());
            assert_eq!(pushed, collected);
            assert_eq!(matches!(collected, Few::One(_)), count == 1, "one needs no memory");
            assert_eq!((&pushed).into_iter().count(), count);
            (&mut pushed).into_iter().for_each(|number| *number += 1);
            assert_eq!(pushed.into_iter().collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_is_one_however_it_is_held() {
        assert_eq!(Few::One([1]), Few::Any(vec![1]));
        assert_ne!(Few::One([1]), Few::Any(vec![1, 2]));
    }
}
