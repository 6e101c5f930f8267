//! The public interface, as a listing that is committed: whoever changes the interface sees it, and says so.
//!
//! `UPDATE_PUBLIC_API=1 cargo test --test public_api` writes it anew.
//!
//! It is read from the sources, without bodies, comments and whatever is not `pub`. The lint `unreachable_pub` sees to it
//! that what is `pub` in a private module is re-exported.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Block, Field, Fields, File, ImplItem, Item, ItemImpl, ItemMod, TraitItem, Type, Visibility, parse_quote,
};

#[test]
fn the_public_interface_is_the_listed_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("public-api.txt");
    let mut items = module(&root.join("src/lib.rs"), &root.join("src"));
    let types = public_types(&items);
    retain(&mut items, &types);
    let now = prettyplease::unparse(&File { shebang: None, attrs: Vec::new(), items });
    if env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(&list, &now).expect("written");
    }
    let listed = fs::read_to_string(&list).expect("public-api.txt");
    for (number, (now, listed)) in now.lines().zip(listed.lines()).enumerate() {
        assert_eq!(now, listed, "line {} of public-api.txt; is the change meant, and in the changelog?", number + 1);
    }
    assert_eq!(now.lines().count(), listed.lines().count(), "the length of public-api.txt");
}

/// The items of a file, and of the files that it names as modules in `folder`.
fn module(file: &Path, folder: &Path) -> Vec<Item> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut items = syn::parse_file(&text).expect("Rust").items;
    for item in &mut items {
        if let Item::Mod(ItemMod { attrs, ident, content: content @ None, .. }) = item
            && !is_for_tests(attrs)
        {
            let name = ident.to_string();
            let candidates = [format!("{name}.rs"), format!("{name}/mod.rs")].map(|path| folder.join(path));
            let path: PathBuf = candidates.into_iter().find(|path| path.exists()).expect("the module's file");
            *content = Some((Default::default(), module(&path, &folder.join(&name))));
        }
    }
    items
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg"))
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether a module may hold public items: `pub(crate)` ones do not.
fn may_be_public(module: &ItemMod) -> bool {
    !matches!(module.vis, Visibility::Restricted(_)) && !is_for_tests(&module.attrs)
}

fn public_types(items: &[Item]) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for item in items {
        match item {
            Item::Mod(module) if may_be_public(module) => {
                types.extend(public_types(module.content.as_ref().map_or(&[], |(_, items)| items)));
            }
            Item::Struct(item) if is_public(&item.vis) => drop(types.insert(item.ident.to_string())),
            Item::Enum(item) if is_public(&item.vis) => drop(types.insert(item.ident.to_string())),
            Item::Trait(item) if is_public(&item.vis) => drop(types.insert(item.ident.to_string())),
            _ => {}
        }
    }
    types
}

/// Keeps what is public, without bodies.
fn retain(items: &mut Vec<Item>, types: &BTreeSet<String>) {
    items.retain_mut(|item| match item {
        Item::Mod(module) if may_be_public(module) => {
            tidy(&mut module.attrs);
            let Some((_, items)) = &mut module.content else { return false };
            retain(items, types);
            !items.is_empty()
        }
        Item::Struct(item) => {
            tidy(&mut item.attrs);
            public_fields(&mut item.fields);
            is_public(&item.vis)
        }
        Item::Enum(item) => {
            tidy(&mut item.attrs);
            for variant in &mut item.variants {
                tidy(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| tidy(&mut field.attrs));
            }
            is_public(&item.vis)
        }
        Item::Trait(item) => {
            tidy(&mut item.attrs);
            for item in &mut item.items {
                if let TraitItem::Fn(function) = item {
                    tidy(&mut function.attrs);
                    function.default = function.default.as_ref().map(|_| nothing());
                }
            }
            is_public(&item.vis)
        }
        Item::Impl(item) => !is_for_tests(&item.attrs) && public_impl(item, types),
        Item::Fn(item) => {
            tidy(&mut item.attrs);
            *item.block = nothing();
            is_public(&item.vis)
        }
        Item::Const(item) => {
            tidy(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Type(item) => {
            tidy(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Use(item) => {
            tidy(&mut item.attrs);
            is_public(&item.vis)
        }
        _ => false,
    });
}

/// Keeps the public functions and constants of an `impl`, or just the name of the trait.
fn public_impl(item: &mut ItemImpl, types: &BTreeSet<String>) -> bool {
    tidy(&mut item.attrs);
    let Type::Path(path) = &*item.self_ty else { return false };
    let known = path.path.segments.last().is_some_and(|last| types.contains(&last.ident.to_string()));
    if item.trait_.is_some() {
        item.items.clear();
        return known;
    }
    item.items.retain_mut(|item| match item {
        ImplItem::Fn(function) => {
            let keep = is_public(&function.vis) && !is_for_tests(&function.attrs);
            tidy(&mut function.attrs);
            function.block = nothing();
            keep
        }
        ImplItem::Const(constant) => {
            tidy(&mut constant.attrs);
            is_public(&constant.vis)
        }
        _ => false,
    });
    known && !item.items.is_empty()
}

/// Leaves out the private fields of a structure, and of a tuple their types.
fn public_fields(fields: &mut Fields) {
    let clean = |field: &mut Field| tidy(&mut field.attrs);
    match fields {
        Fields::Named(fields) => {
            let public = fields.named.iter().filter(|field| is_public(&field.vis)).cloned();
            fields.named = public.collect();
            fields.named.iter_mut().for_each(clean);
        }
        Fields::Unnamed(fields) => {
            fields.unnamed.iter_mut().for_each(clean);
            for field in fields.unnamed.iter_mut().filter(|field| !is_public(&field.vis)) {
                field.ty = parse_quote!(_);
            }
        }
        Fields::Unit => {}
    }
}

/// Keeps the attributes that matter to users.
fn tidy(attributes: &mut Vec<Attribute>) {
    let matters = ["derive", "non_exhaustive", "must_use", "rtype", "cfg"];
    attributes.retain(|attribute| matters.iter().any(|name| attribute.path().is_ident(name)));
}

fn nothing() -> Block {
    parse_quote!({})
}
