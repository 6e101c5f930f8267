//! Which configuration file is used.

use std::path::PathBuf;

use super::{Environment, Flags, Place, Problem};

/// The variable that names the file.
pub(super) const VARIABLE: &str = "OGRAPH_CONFIG_FILE";
const NAME: [&str; 2] = ["ograph", "dispatcher.json"];

/// Where the configuration file is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Somebody named this file, so it has to exist.
    Named(PathBuf, Place),
    /// Found at one of the usual places.
    Found(PathBuf),
    /// Not there yet; this is where it belongs.
    Missing(PathBuf),
}

impl Location {
    /// The file: `--config`, else `$OGRAPH_CONFIG_FILE`, else `ograph/dispatcher.json` in the user's config folder or,
    /// on every system, in `~/.config`.
    ///
    /// # Errors
    /// If none is named and the user's home is unknown, so that there is nowhere to look.
    pub fn find(flags: &Flags, environment: &Environment) -> Result<Self, Problem> {
        if let Some(file) = &flags.config {
            return Ok(Self::Named(environment.current.join(file), Place::Flag { flag: "--config" }));
        }
        let place = Place::Variable { variable: VARIABLE };
        match environment.variable(VARIABLE) {
            Ok(Some(file)) => return Ok(Self::Named(environment.current.join(environment.expand(file)), place)),
            Ok(None) => {}
            Err(error) => return Err(Problem { place, path: String::new(), message: error.to_string() }),
        }
        let folders =
            environment.config.clone().into_iter().chain(environment.home.as_ref().map(|h| h.join(".config")));
        let candidates: Vec<PathBuf> = folders.map(|folder| folder.join(NAME[0]).join(NAME[1])).collect();
        if let Some(found) = candidates.iter().find(|file| file.exists()) {
            return Ok(Self::Found(found.clone()));
        }
        candidates.into_iter().next().map(Self::Missing).ok_or_else(|| Problem {
            place: Place::Nowhere {},
            path: String::new(),
            message: format!("the home folder is unknown; name the file with --config or {VARIABLE}"),
        })
    }

    /// The file's path, whether it exists or not.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Named(path, _) | Self::Found(path) | Self::Missing(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn environment(home: &Path) -> Environment {
        Environment {
            home: Some(home.to_owned()),
            config: Some(home.join("Library")),
            current: home.join("here"),
            ..Environment::default()
        }
    }

    fn create(file: &Path) -> PathBuf {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{}").unwrap();
        file.to_owned()
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_the_variable_over_the_usual_places() {
        let home = tempfile::tempdir().unwrap();
        let mut environment = environment(home.path());
        let find = |flags: &Flags, environment: &Environment| Location::find(flags, environment).unwrap();

        let belongs = home.path().join("Library/ograph/dispatcher.json");
        assert_eq!(find(&Flags::default(), &environment), Location::Missing(belongs.clone()));
        let dot_config = create(&home.path().join(".config/ograph/dispatcher.json"));
        assert_eq!(find(&Flags::default(), &environment), Location::Found(dot_config));
        create(&belongs);
        assert_eq!(find(&Flags::default(), &environment), Location::Found(belongs), "the system's own folder is first");

        environment.variables.insert(VARIABLE.into(), "~/other.json".into());
        let named = Location::Named(home.path().join("other.json"), Place::Variable { variable: VARIABLE });
        assert_eq!(find(&Flags::default(), &environment), named);
        let flags = Flags::new(Some("third.json".into()));
        let named = Location::Named(home.path().join("here/third.json"), Place::Flag { flag: "--config" });
        assert_eq!(find(&flags, &environment), named);
    }

    #[test]
    fn without_a_home_it_asks_for_the_file() {
        let problem = Location::find(&Flags::default(), &Environment::default()).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "configuration: the home folder is unknown; name the file with --config or OGRAPH_CONFIG_FILE"
        );
    }
}
