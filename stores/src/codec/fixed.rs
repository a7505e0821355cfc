//! The macro that writes the codec of a struct of fixed fields.

/// Makes a struct of fixed fields a fixed codec of itself: the fields one after the other, without padding.
///
/// It declares the struct, or serves one that is there; `field: Type as Codec` names the codec of a foreign type.
///
/// ```
/// use rollstore::{Codec, FixedCodec, Raw, fixed};
/// # #[derive(Debug, Clone, Copy, PartialEq)] pub struct B256([u8; 32]);
/// # impl AsRef<[u8]> for B256 { fn as_ref(&self) -> &[u8] { &self.0 } }
/// # impl TryFrom<&[u8]> for B256 {
/// #     type Error = std::array::TryFromSliceError;
/// #     fn try_from(bytes: &[u8]) -> Result<B256, Self::Error> { bytes.try_into().map(B256) }
/// # }
///
/// fixed! {
///     /// The newest block.
///     #[derive(Debug, Clone, PartialEq)]
///     pub struct Head {
///         pub level: u32,
///         pub hash: B256 as Raw<B256, 32>,
///     }
/// }
///
/// struct Span { first: u32, last: u32 }
/// fixed!(Span { first: u32, last: u32 });
///
/// assert_eq!((Head::SIZE, Span::SIZE), (36, 8));
/// let (head, mut bytes) = (Head { level: 7, hash: B256([1; 32]) }, Vec::new());
/// Head::encode(&head, &mut bytes);
/// assert_eq!(Head::decode(&bytes), Ok(head));
/// assert!(Head::decode(&bytes[1..]).is_err());
/// # let _ = |span: Span| (span.first, span.last);
/// ```
#[macro_export]
macro_rules! fixed {
    (@codec $ty:ty) => { $ty };
    (@codec $ty:ty, $codec:ty) => { $codec };
    (@size $ty:ty $(, $codec:ty)?) => {
        <$crate::fixed!(@codec $ty $(, $codec)?) as $crate::FixedCodec>::SIZE
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $ty:ty $(as $codec:ty)?),*
            $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $ty),*
        }
        $crate::fixed!($name { $($field: $ty $(as $codec)?),* });
    };
    ($name:ident { $($field:ident : $ty:ty $(as $codec:ty)?),* $(,)? }) => {
        impl $crate::FixedEncodable for $name {
            const SIZE: usize = 0 $(+ $crate::fixed!(@size $ty $(, $codec)?))*;

            fn write_to(&self, out: &mut [u8]) {
                let rest = out;
                $(
                    let size = $crate::fixed!(@size $ty $(, $codec)?);
                    let (part, rest) = rest.split_at_mut(size);
                    <$crate::fixed!(@codec $ty $(, $codec)?) as $crate::FixedCodec>::write(
                        &self.$field,
                        part,
                    );
                )*
                debug_assert!(rest.is_empty());
            }

            fn read_from(bytes: &[u8]) -> ::std::result::Result<Self, $crate::DecodeError> {
                let rest = bytes;
                $(
                    let size = $crate::fixed!(@size $ty $(, $codec)?);
                    let Some((part, rest)) = rest.split_at_checked(size) else {
                        return ::std::result::Result::Err($crate::DecodeError::Length {
                            found: rest.len(),
                            expected: size,
                        });
                    };
                    let $field =
                        <$crate::fixed!(@codec $ty $(, $codec)?) as $crate::Codec>::decode(part)?;
                )*
                debug_assert!(rest.is_empty());
                ::std::result::Result::Ok(Self { $($field),* })
            }
        }
    };
}
