//! The addresses of services that follow AWS's general rule for endpoints.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

/// The domains by the beginning of a region. The tests compare the file with AWS's own list of partitions.
const PARTITIONS: &str = include_str!("partitions.tsv");

/// The names of a service.
#[derive(Debug, Clone, Copy)]
pub struct ServiceName {
    /// As variables and profiles name it, `Glue` in `AWS_ENDPOINT_URL_GLUE`.
    pub id: &'static str,
    /// As hosts and signatures name it.
    pub host: &'static str,
}

/// The endpoint of a service: as the environment or profile sets it, or else the one of the region.
pub(super) fn endpoint(config: &SdkConfig, service: ServiceName) -> String {
    let key = ServiceConfigKey::builder()
        .service_id(service.id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_service = match (key, config.service_config()) {
        (Ok(key), Some(services)) => services.load_config(key),
        _ => None,
    };
    let fips = config.use_fips().unwrap_or_default();
    let dual_stack = config.use_dual_stack().unwrap_or_default();
    of_service.or_else(|| config.endpoint_url().map(str::to_owned)).unwrap_or_else(|| {
        of_region(service.host, config.region().map_or("", AsRef::as_ref), fips, dual_stack)
    })
}

/// AWS's general rule, which holds for all services that are called so.
fn of_region(host: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let mut partitions = PARTITIONS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (prefix, domains) = line.split_once('\t')?;
        region.starts_with(prefix).then_some(domains.split_once('\t')?)
    });
    let (domain, dual) = partitions.next().unwrap_or_default();
    let fips = if fips { "-fips" } else { "" };
    format!("https://{host}{fips}.{region}.{}", if dual_stack { dual } else { domain })
}

#[cfg(test)]
mod tests {
    use aws_types::{region::Region, service_config::LoadServiceConfig};

    use super::*;

    const GLUE: ServiceName = ServiceName { id: "Glue", host: "glue" };

    /// The settings of an environment that has an address for Glue only.
    #[derive(Debug)]
    struct Settings;

    impl LoadServiceConfig for Settings {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let names = (key.service_id(), key.env(), key.profile());
            (names == ("Glue", "AWS_ENDPOINT_URL", "endpoint_url")).then(|| "http://of-glue".to_owned())
        }
    }

    #[test]
    fn endpoint_of_the_service_has_priority() {
        let config = SdkConfig::builder().region(Region::new("eu-west-1")).build();
        assert_eq!(endpoint(&config, GLUE), "https://glue.eu-west-1.amazonaws.com");
        let config = config.into_builder().use_fips(true).use_dual_stack(true).build();
        assert_eq!(endpoint(&config, GLUE), "https://glue-fips.eu-west-1.api.aws");
        let config = config.into_builder().endpoint_url("http://of-all").build();
        assert_eq!(endpoint(&config, GLUE), "http://of-all");
        let config = config.into_builder().service_config(Settings).build();
        assert_eq!(endpoint(&config, GLUE), "http://of-glue");
        assert_eq!(endpoint(&config, ServiceName { id: "Lambda", host: "lambda" }), "http://of-all");
    }

    #[test]
    fn endpoint_follows_region_and_options() {
        for (region, fips, dual_stack, expected) in [
            ("eu-west-1", false, false, "https://glue.eu-west-1.amazonaws.com"),
            ("us-east-1", true, false, "https://glue-fips.us-east-1.amazonaws.com"),
            ("us-east-1", true, true, "https://glue-fips.us-east-1.api.aws"),
            ("eu-west-1", false, true, "https://glue.eu-west-1.api.aws"),
            ("us-gov-west-1", true, false, "https://glue-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, false, "https://glue.cn-north-1.amazonaws.com.cn"),
            ("us-isob-east-1", false, false, "https://glue.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(of_region("glue", region, fips, dual_stack), expected);
        }
    }
}
